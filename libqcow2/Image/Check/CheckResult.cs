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

    public long Errors { get; private set; }

    /// <summary>Clusters with a refcount above the references found.</summary>
    public long Leaks { get; private set; }

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

    internal void Refuse(string message)
    {
        Unreadable = true;
        Error(CheckSubject.Header, 0, message);
    }

    internal bool IsFull => _findings.Count >= FindingLimit;

    internal void Error(CheckSubject subject, long offset, string message)
    {
        Errors++;
        if (!IsFull)
            _findings.Add(new CheckFinding(CheckSeverity.Error, subject, offset, message));
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
