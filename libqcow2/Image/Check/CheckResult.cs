using System.Collections.Generic;
using System.Runtime.CompilerServices;

namespace Qcow2Blk.Image.Check;

/// <summary>How bad a finding is.</summary>
internal enum CheckSeverity
{
    /// <summary>Clusters that nothing uses: space is lost, data is not.</summary>
    Leak,

    /// <summary>Something that would lose data or lead to wrong data.</summary>
    Error,
}

/// <summary>What a finding is about.</summary>
internal enum CheckSubject
{
    Header,
    RefcountTable,
    RefcountBlock,
    Refcount,
    L1Table,
    L2Table,
    L2Entry,
    CopiedFlag,
    SnapshotTable,
    Bitmaps,
    Overlap,
}

internal static class CheckSubjects
{
    /// <summary>As the beginning of a sentence about what it refers to.</summary>
    public static string Words(this CheckSubject subject) => subject switch
    {
        CheckSubject.Header => "the header",
        CheckSubject.RefcountTable => "the refcount table",
        CheckSubject.RefcountBlock => "a refcount block",
        CheckSubject.L1Table => "an L1 table",
        CheckSubject.L2Table => "an L2 table",
        CheckSubject.L2Entry => "an L2 entry",
        CheckSubject.SnapshotTable => "the snapshot table",
        CheckSubject.Bitmaps => "a bitmap",
        _ => "something",
    };
}

/// <summary>One thing that is wrong in an image.</summary>
/// <param name="Offset">where in the file, in bytes</param>
/// <param name="Message">for people, with the values that disagree</param>
internal readonly record struct CheckFinding(CheckSeverity Severity, CheckSubject Subject, long Offset, string Message);

/// <summary>The outcome of a check.</summary>
internal sealed class CheckResult
{
    /// <summary>Findings beyond these are counted, not kept: a hostile image must not fill the memory.</summary>
    public const int FindingLimit = 1000;

    private readonly List<CheckFinding> _findings = [];

    public IReadOnlyList<CheckFinding> Findings => _findings;

    public long Errors { get; internal set; }

    /// <summary>Clusters with a refcount above the references found.</summary>
    public long Leaks { get; internal set; }

    /// <summary>What could not be looked at.</summary>
    public long CheckErrors { get; internal set; }

    /// <summary>Errors that were repaired; they are not among <see cref="Errors"/>.</summary>
    public long ErrorsFixed { get; internal set; }

    /// <summary>Leaks that were repaired; they are not among <see cref="Leaks"/>.</summary>
    public long LeaksFixed { get; internal set; }

    /// <summary>Clusters of the disk.</summary>
    public long TotalClusters { get; internal set; }

    /// <summary>Clusters of the disk that have space in the file.</summary>
    public long AllocatedClusters { get; internal set; }

    /// <summary>Those that do not follow the one before them in the file.</summary>
    public long FragmentedClusters { get; internal set; }

    public long CompressedClusters { get; internal set; }

    /// <summary>Why the check ended before everything was looked at; null if it did not.</summary>
    public string? Stopped { get; private set; }

    public bool IsClean => Errors == 0 && Leaks == 0;

    /// <summary>The file is no image that could be checked; the one finding says why.</summary>
    public bool Unreadable { get; private set; }

    /// <summary>Set in the header: refcounts may be behind (lazy refcounts), which is no error then.</summary>
    public bool Dirty { get; internal set; }

    /// <summary>A read failed with this negative errno, so that the check could not be finished; else 0.</summary>
    public int ReadError { get; internal set; }

    /// <summary>Clusters that something refers to.</summary>
    public long UsedClusters { get; internal set; }

    /// <summary>End of the last cluster in use, in bytes.</summary>
    public long EndOffset { get; internal set; }

    /// <summary>The check cannot go on.</summary>
    internal void Stop(string why) => Stopped ??= why;

    /// <summary>Something to say that is counted elsewhere.</summary>
    internal void Note(string message) => _findings.Add(new CheckFinding(CheckSeverity.Error, CheckSubject.Refcount, 0, message));

    internal void Refuse(string message)
    {
        Unreadable = true;
        Stop(message);
        Error(CheckSubject.Header, 0, message);
    }

    internal bool IsFull => _findings.Count >= FindingLimit;

    internal void Error(CheckSubject subject, long offset, string message)
    {
        Errors++;
        if (!IsFull)
            _findings.Add(new CheckFinding(CheckSeverity.Error, subject, offset, message));
    }

    /// <summary>The same thing, found wrong several times over: in a table that several others refer to.</summary>
    internal void Error(CheckSubject subject, long offset, long times, [InterpolatedStringHandlerArgument("")] ref FindingText text)
    {
        Errors += times;
        if (!IsFull)
            _findings.Add(new CheckFinding(CheckSeverity.Error, subject, offset, text.Take()));
    }

    internal void Error(CheckSubject subject, long offset, [InterpolatedStringHandlerArgument("")] ref FindingText text)
    {
        Errors++;
        if (!IsFull)
            _findings.Add(new CheckFinding(CheckSeverity.Error, subject, offset, text.Take()));
    }

    internal void Leak(long offset, [InterpolatedStringHandlerArgument("")] ref FindingText text)
    {
        // Half of the room at most: what is worse must not go unnamed.
        Leaks++;
        if (_findings.Count < FindingLimit / 2)
            _findings.Add(new CheckFinding(CheckSeverity.Leak, CheckSubject.Refcount, offset, text.Take()));
    }
}
