using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image.Check;

/// <summary>A repair that is cut off anywhere leaves an image that reads the same, is no worse, and can be repaired.</summary>
public sealed class RepairCrashTests
{
    public static IEnumerable<TheoryDataRow<string, bool>> Matrix =>
        from options in (string[])["cluster_size=512", "cluster_size=4096,refcount_bits=8", "cluster_size=65536",
            "cluster_size=4096,refcount_bits=64"]
        from loses in (bool[])[false, true]
        select new TheoryDataRow<string, bool>(options, loses);

    [Theory]
    [MemberData(nameof(Matrix))]
    public void Repair_survives_power_cut_at_every_step(string options, bool losesRefcounts)
    {
        using var directory = new TempDirectory();
        var before = Damaged(directory, options, losesRefcounts);
        var content = new GuestReader(before).ReadAll();
        var low = TooLow(before);
        var log = Record(before);
        Assert.True(log.Operations.Count(operation => operation.Kind == StorageOperationKind.Flush) > 3);

        var random = new Random(1);
        var crash = new CrashImage(before, log);
        for (long tick = 0; tick <= log.Tick; tick++)
        {
            crash.AdvanceTo(tick);
            for (var cut = 0; cut < 3; cut++)
            {
                crash.Cut(random);
                Assert.Equal(content, new GuestReader(crash).ReadAll());
                Assert.Subset(low, TooLow(crash));
                var repaired = crash.ToSparseBytes();
                var result = Repair(repaired, null);
                Assert.True(result is { IsClean: true, Stopped: null, Dirty: false }, result.Stopped ?? $"{result.Errors} errors left");
                Assert.Equal(content, new GuestReader(repaired).ReadAll());
                crash.Restore();
            }
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Errno_of_any_step_is_reported_and_leaves_the_image_repairable(bool losesRefcounts)
    {
        using var directory = new TempDirectory();
        var before = Damaged(directory, "cluster_size=4096", losesRefcounts);
        var content = new GuestReader(before).ReadAll();
        for (var failing = 0; ; failing++)
        {
            var (copy, steps) = (before.Copy(), 0);
            var result = Repair(copy, _ => steps++ == failing ? 5 : 0);
            if (failing >= steps)
            {
                Assert.True(result.IsClean);
                break;
            }

            Assert.Equal(-5, result.ReadError);
            Assert.NotNull(result.Stopped);
            Assert.True(Repair(copy, null).IsClean);
            Assert.Equal(content, new GuestReader(copy).ReadAll());
        }
    }

    /// <summary>
    /// Leaks, wrong COPIED flags, an incomplete snapshot table, the corrupt bit; and refcounts that are too low, or not there.
    /// </summary>
    private static SparseBytes Damaged(TempDirectory directory, string options, bool losesRefcounts)
    {
        var image = directory.File("damaged.qcow2");
        Qemu.Img("create", "-f", "qcow2", "-o", options, image, "1M");
        Qemu.Io(image, "write -P 1 0 60k");
        Qemu.Img("snapshot", "-c", "before", image);
        Qemu.Io(image, "write -P 2 10k 30k", "write -P 3 500k 1k");
        var bytes = SparseBytes.FromFile(image);
        var (order, block) = ((int)(bytes.U64(HeaderField.RefcountOrder) >> 32), bytes.RefcountBlock());
        var used = (int)(bytes.Length >> (int)(bytes.U64(HeaderField.ClusterBits) >> 32));
        var entries = bytes.Bytes(block, 512);
        var random = new Random(order);
        for (var index = 4; index < Math.Min(used, 512 * 8 >> order); index++)
        {
            var refcount = RefcountEntries.Get(entries, index, order);
            var change = random.Next(4);
            if (change == 0)
                RefcountEntries.Set(entries, index, order, refcount + 1);
            else if (change == 1 && (refcount > 1 || (losesRefcounts && refcount > 0)))
                RefcountEntries.Set(entries, index, order, refcount - 1);
        }

        bytes.Write(block, entries);
        var l1 = bytes.L1Table();
        bytes.Put64(l1, bytes.U64(l1) ^ (1UL << 63));
        bytes.Write((long)bytes.U64(HeaderField.SnapshotsOffset) + 36, [0, 0, 0, 0]); // as if written by an old program
        bytes.Write(HeaderField.IncompatibleFeatures + 7, [2]);
        return bytes;
    }

    private static HashSet<long> TooLow(IImageBytes bytes)
    {
        using var storage = new ImageBytesStorage(bytes, "image");
        var result = ImageCheck.RunAsync(storage, CheckMode.Report).GetAwaiter().GetResult();
        Assert.Null(result.Stopped);
        return [.. result.Findings.Where(finding => finding is { Severity: CheckSeverity.Error, Subject: CheckSubject.Refcount })
            .Select(finding => finding.Offset)];
    }

    private static StorageLog Record(SparseBytes before)
    {
        var log = new StorageLog();
        Assert.True(Repair(before.Copy(), null, log).IsClean);
        return log;
    }

    private static CheckResult Repair(SparseBytes bytes, Func<StorageOperation, int>? fault, StorageLog? log = null)
    {
        using var loop = new SimulatedLoop(1);
        using var storage = new MemoryStorage(loop, bytes) { Fault = fault, Log = log };
        CheckResult? result = null;
        loop.Run(async () =>
        {
            result = await ImageCheck.RunAsync(storage, CheckMode.All);
            return 0;
        });
        return result!;
    }
}
