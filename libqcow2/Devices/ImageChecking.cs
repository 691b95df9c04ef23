using System;
using System.Collections.Generic;
using System.IO;
using System.Threading;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Interop;
using Qcow2Blk.Logging;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Devices;

/// <summary>What a check may repair; null where it may repair nothing.</summary>
internal enum RepairKind
{
    Leaks,
    All,
}

internal static class RepairKinds
{
    public static EnumWords<RepairKind> Words { get; } = new((RepairKind.Leaks, "leaks"), (RepairKind.All, "all"));
}

/// <summary>How a check ended.</summary>
internal enum CheckVerdict
{
    Clean,

    /// <summary>Something could not be looked at, or repairing it failed.</summary>
    Incomplete,

    /// <summary>What is read may be wrong, or writing may lose data.</summary>
    Corrupt,

    /// <summary>Space is lost, nothing else.</summary>
    Leaking,

    /// <summary>The file is not a qcow2 image.</summary>
    NotSupported,
}

/// <summary>The findings of a check; numbers are those of <c>qemu-img check</c>.</summary>
internal sealed record CheckReport
{
    public required CheckVerdict Verdict { get; init; }

    /// <summary>Why the check or the repair ended early; null if it did not.</summary>
    public string? Stopped { get; init; }

    public required long CheckErrors { get; init; }

    public required long Corruptions { get; init; }

    public required long Leaks { get; init; }

    public required long CorruptionsFixed { get; init; }

    public required long LeaksFixed { get; init; }

    /// <summary>Where the last cluster in use ends in the file.</summary>
    public required long ImageEndOffset { get; init; }

    public required long TotalClusters { get; init; }

    public required long AllocatedClusters { get; init; }

    public required long FragmentedClusters { get; init; }

    public required long CompressedClusters { get; init; }

    /// <summary>What was found, for people; not all of it if there is very much.</summary>
    public required IReadOnlyList<string> Findings { get; init; }
}

/// <summary>Checks and repairs the metadata of an image that nobody has open.</summary>
internal static class ImageChecking
{
    /// <param name="path">the image file</param>
    /// <param name="repair">what may be changed</param>
    /// <param name="ignoreLocks">look at it even though somebody may be writing it: findings may be nonsense then</param>
    /// <param name="progress">hears what is done, and the fraction that is done of it</param>
    /// <exception cref="OutcomeException">it cannot be opened, somebody has it, or it is no image</exception>
    public static CheckReport Run(string path, RepairKind? repair, bool ignoreLocks, Action<string, double>? progress)
    {
        ArgumentNullException.ThrowIfNull(path);
        using var offload = new OffloadPool(1);
        using var loop = new EventLoop(0, offload);
        using var ended = new ManualResetEventSlim();
        CheckResult? result = null;
        Exception? failure = null;
        loop.Start();
        loop.PostFromAnyThread(() => RunAsync().Forget());
        ended.Wait();
        return failure is null ? ReportOf(result!) : throw Refusals.From(failure, $"cannot check {path}");

        async LoopTask<int> RunAsync()
        {
            try
            {
                result = await CheckAsync(path, repair, ignoreLocks, progress);
            }
            catch (Exception error)
            {
                failure = error;
            }

            ended.Set();
            return 0;
        }
    }

    private static async LoopTask<CheckResult> CheckAsync(
        string path, RepairKind? repair, bool ignoreLocks, Action<string, double>? progress)
    {
        var error = FileStorage.Open(path, readOnly: repair is null, direct: false, out var file);
        if (error < 0)
            throw Refused(path, error);
        try
        {
            if (!ignoreLocks)
                file!.Lock = ImageLock.Acquire(file.Descriptor, path, write: repair is not null);
            return await ImageCheck.RunAsync(file!, ModeOf(repair), progress);
        }
        catch (ImageFormatException other) when (other.Field == "magic")
        {
            var result = new CheckResult();
            result.Refuse(other.Why);
            return result;
        }
        finally
        {
            file!.Dispose();
        }
    }

    private static CheckMode ModeOf(RepairKind? repair) => repair switch
    {
        null => CheckMode.Report,
        RepairKind.Leaks => CheckMode.Leaks,
        _ => CheckMode.All,
    };

    private static CheckReport ReportOf(CheckResult result)
    {
        var findings = new List<string>();
        foreach (var finding in result.Unreadable ? [] : result.Findings)
            findings.Add((finding.Severity == CheckSeverity.Leak ? "leak: " : "error: ") + finding.Message);
        return new CheckReport
        {
            Verdict = VerdictOf(result),
            Stopped = result.Stopped,
            CheckErrors = result.CheckErrors,
            Corruptions = result.Errors,
            Leaks = result.Leaks,
            CorruptionsFixed = result.ErrorsFixed,
            LeaksFixed = result.LeaksFixed,
            ImageEndOffset = result.EndOffset,
            TotalClusters = result.TotalClusters,
            AllocatedClusters = result.AllocatedClusters,
            FragmentedClusters = result.FragmentedClusters,
            CompressedClusters = result.CompressedClusters,
            Findings = findings,
        };
    }

    private static CheckVerdict VerdictOf(CheckResult result) =>
        result.Unreadable ? CheckVerdict.NotSupported
        : result.Stopped is not null || result.CheckErrors > 0 ? CheckVerdict.Incomplete
        : result.Errors > 0 ? CheckVerdict.Corrupt
        : result.Leaks > 0 ? CheckVerdict.Leaking
        : CheckVerdict.Clean;

    private static Exception Refused(string path, int error) => error switch
    {
        -Errno.ENOENT => new FileNotFoundException($"cannot open {path}: {Errno.Text(error)}"),
        -Errno.EACCES or -Errno.EPERM => new UnauthorizedAccessException($"cannot open {path}: {Errno.Text(error)}"),
        _ => new IOException($"cannot open {path}: {Errno.Text(error)}", -error),
    };
}
