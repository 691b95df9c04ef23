using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image.Snapshots;

/// <summary>Snapshots of an image of qemu's making, in the engine on a simulated loop.</summary>
internal static class SnapshotScene
{
    public static readonly DateTimeOffset Taken = new(2026, 5, 4, 3, 2, 1, TimeSpan.Zero);

    private static readonly string[] s_withoutCompressed = ["refcount_bits=2", "refcount_bits=4", "cluster_size=2M", "preallocation"];

    /// <summary>Every feature that entries have: data, zeroes of both kinds, compressed clusters where the format has them.</summary>
    public static SparseBytes Make(string options, string size = "8M", Action<string>? after = null)
    {
        List<string> commands = ["write -P 1 0 300k", "write -P 2 1M 64k", "write -P 3 5M 1M"];
        if (!options.Contains("compat=0.10", StringComparison.Ordinal))
            commands.AddRange(["write -z 2M 64k", "write -P 4 3M 64k", "write -z 3M 64k"]);

        // Several compressed clusters share a host cluster, which narrow refcounts cannot count often; qemu has limits of its own.
        if (!s_withoutCompressed.Any(word => options.Contains(word, StringComparison.Ordinal)))
            commands.AddRange(["write -c -P 5 4M 64k", "write -c -P 6 4224k 64k"]);
        return OneImage.Make(options, size, after, [.. commands]);
    }

    public static EditAnswer Create(this OneImage one, string name) =>
        one.Loop.RunUntilComplete(one.Image.EditAsync(() => one.Image.SnapshotEditor!.CreateAsync(name, Taken)));

    public static EditAnswer Delete(this OneImage one, string name) =>
        one.Loop.RunUntilComplete(one.Image.EditAsync(() => one.Image.SnapshotEditor!.DeleteAsync(name)));

    public static EditAnswer Revert(this OneImage one, string name) =>
        one.Loop.RunUntilComplete(one.Image.EditAsync(() => one.Image.SnapshotEditor!.RevertAsync(name)));

    public static void MustSucceed(this EditAnswer answer)
    {
        Assert.True(answer.Succeeded, answer.Why);
        Assert.Null(answer.Note);
    }

    /// <summary>Closes the image; qemu and our own check must find nothing wrong with it, and no leaks.</summary>
    public static void CloseClean(this OneImage one, string file)
    {
        var result = one.Close();
        Assert.True(result.IsClean, result.IsClean ? "" : result.Findings[0].Message);
        one.Storage.Content.Save(file);
        Assert.True(Qemu.Check(file, out var report) == Verdict.Clean, report);
    }

    /// <summary>What qemu reads of the active state, or of a snapshot.</summary>
    public static byte[] Read(string file, string? snapshot = null)
    {
        var raw = file + ".raw";
        if (snapshot is null)
            Qemu.Img("convert", "-f", "qcow2", "-O", "raw", file, raw);
        else
            Qemu.Img("convert", "-f", "qcow2", "-l", $"snapshot.name={snapshot}", "-O", "raw", file, raw);
        var content = File.ReadAllBytes(raw);
        File.Delete(raw);
        return content;
    }

    /// <summary>All errors but COPIED flags that do not go with refcounts which leak, or that are missing.</summary>
    public static IEnumerable<CheckFinding> RealErrors(CheckResult result)
    {
        foreach (var finding in result.Findings)
        {
            if (finding is { Severity: CheckSeverity.Error, Subject: not CheckSubject.CopiedFlag })
                yield return finding;
        }
    }
}
