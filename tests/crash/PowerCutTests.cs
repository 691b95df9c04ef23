using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Crash;

/// <summary>
/// The power goes at any moment of a random workload: the image must be without errors (leaks are allowed) and hold
/// everything that a flush or FUA acknowledged. QCOW2BLK_CRASH_SEED=n runs one workload; QCOW2BLK_CRASH_SEEDS=n sets how many.
/// </summary>
public sealed class PowerCutTests(ITestOutputHelper output)
{
    private const int Workloads = 200;
    private const int CutsPerWorkload = 50;

    // 200 of 10,000 go to qemu-img, 400 are opened by the engine again.
    private const int QemuEvery = 50;
    private const int ReopenEvery = 25;

    // Reading whole snapshots takes long, and what was done to one stays: it shows at a later cut, and after the close.
    private const int SnapshotsEvery = 10;

    [Trait("Speed", "slow")]
    [Fact]
    public void Acknowledged_data_and_a_sound_image_survive_any_power_cut()
    {
        var only = Environment.GetEnvironmentVariable("QCOW2BLK_CRASH_SEED");
        var count = int.Parse(Environment.GetEnvironmentVariable("QCOW2BLK_CRASH_SEEDS") ?? $"{Workloads}");
        int[] seeds = only is null ? [.. Enumerable.Range(1, count)] : [int.Parse(only)];
        _ = Subject.All;
        var failures = new ConcurrentBag<(int Seed, string What)>();
        var cuts = 0;
        Parallel.ForEach(seeds, new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount }, seed =>
        {
            try
            {
                Interlocked.Add(ref cuts, RunSeed(seed));
            }
            catch (Exception error)
            {
                failures.Add(
                    (seed, $"QCOW2BLK_CRASH_SEED={seed} ({SubjectOf(seed).Name}):"
                        + $" {(error is Xunit.Sdk.XunitException ? error.Message : error)}"));
            }
        });
        output.WriteLine(
            $"seeds {seeds[0]}..{seeds[^1]}: {cuts} crash images, {failures.Count} workloads failed:"
                + $" {string.Join(' ', failures.Select(failure => failure.Seed).Order())}");
        Assert.True(failures.IsEmpty,
            $"{failures.Count} of {seeds.Length} workloads failed: {string.Join(' ', failures.Select(failure => failure.Seed).Order())}\n"
            + string.Join("\n", failures.OrderBy(failure => failure.Seed).Take(20).Select(failure => failure.What)));
    }

    private static Subject SubjectOf(int seed) => Subject.All[seed % Subject.All.Count];

    private static int RunSeed(int seed)
    {
        var subject = SubjectOf(seed);
        var workload = new Workload(subject, seed);
        workload.Run(requests: 120);
        var original = subject.Content();
        var snapshots = subject.Snapshots();
        AssertHolds(subject, workload, workload.After, original, long.MaxValue - 1, "after close");
        AssertSnapshotsHold(subject, workload.After, snapshots, "after close");
        Assert.True(BytesChecker.Check(workload.After).IsClean, "after close: " + Findings(BytesChecker.Check(workload.After)));

        var random = new Random(seed);
        var crash = new CrashImage(subject.Image, workload.Log);
        var ticks = Enumerable.Range(0, CutsPerWorkload).Select(_ => Moment(workload.Log, random)).Order().ToArray();
        for (var cut = 0; cut < ticks.Length; cut++)
        {
            crash.AdvanceTo(ticks[cut]);
            crash.Cut(random);
            Judge(subject, workload, crash, original, ticks[cut], seed, cut);
            if (cut % SnapshotsEvery == 0)
                AssertSnapshotsHold(subject, crash, snapshots, $"cut {cut} at tick {ticks[cut]}");
            crash.Restore();
        }

        return ticks.Length;
    }

    /// <summary>Any moment, or the one right after a flush: where promises begin.</summary>
    private static long Moment(StorageLog log, Random random)
    {
        if (random.Next(3) != 0)
            return random.NextInt64(log.Tick + 1);
        var operation = log.Operations[random.Next(log.Operations.Count)];
        return operation.Completed == long.MaxValue ? log.Tick : operation.Completed + random.Next(4);
    }

    private static void Judge(Subject subject, Workload workload, CrashImage crash, byte[] original, long tick, int seed, int cut)
    {
        var found = BytesChecker.Check(crash);
        var moment = $"cut {cut} at tick {tick}, {crash.Pending} operations pending";
        Assert.True(found.Errors == 0, $"{moment}: {Findings(found)}");
        AssertHolds(subject, workload, crash, original, tick, moment);
        if ((seed + cut) % QemuEvery == 0)
            AssertQemuAgrees(subject, crash, moment);
        if ((seed + cut) % ReopenEvery == 7)
            AssertReopens(subject, crash, moment);
    }

    private static void AssertHolds(Subject subject, Workload workload, IImageBytes image, byte[] original, long tick, string moment)
    {
        var reader = subject.Reader(image);
        Span<byte> found = stackalloc byte[GuestHistory.SectorSize];
        foreach (var sector in workload.History.Sectors)
        {
            var offset = (int)sector * GuestHistory.SectorSize;
            reader.Read(offset, found);
            var wrong = workload.History.Judge(sector, found, original.AsSpan(offset, found.Length), tick);
            if (wrong is not null)
                Assert.Fail($"{moment}: {wrong}");
            if (subject.HasRawDataFile)
                AssertRaw(image, offset, found, moment);
        }
    }

    /// <summary>Who reads the data file sees what the guest sees.</summary>
    private static void AssertRaw(IImageBytes image, int offset, ReadOnlySpan<byte> found, string moment)
    {
        Span<byte> raw = stackalloc byte[GuestHistory.SectorSize];
        StorageWindow.DataOf(image).Read(offset, raw);
        Assert.True(raw.SequenceEqual(found), $"{moment}: the raw file differs from the disk at {offset}");
    }

    private static void AssertSnapshotsHold(Subject subject, IImageBytes image, IReadOnlyList<byte[]> expected, string moment)
    {
        var found = subject.Reader(image).Snapshots();
        Assert.Equal(expected.Count, found.Count);
        for (var index = 0; index < found.Count; index++)
        {
            Assert.True(
                found[index].ReadAll().AsSpan().SequenceEqual(expected[index]),
                $"{moment}: snapshot {index} reads other bytes than before");
        }
    }

    private static void AssertQemuAgrees(Subject subject, CrashImage crash, string moment)
    {
        using var directory = new TempDirectory();
        Assert.True(subject.Check(crash, directory, out var report) != Verdict.Errors, $"{moment}: qemu-img check: {report}");
    }

    /// <summary>What the power cut left opens again, reads the same, takes a write and closes without errors.</summary>
    private static void AssertReopens(Subject subject, CrashImage crash, string moment)
    {
        var expected = subject.Reader(crash).ReadAll();
        using var loop = new SimulatedLoop(1);
        var storage = new MemoryStorage(loop, crash.ToSparseBytes());
        loop.Run(async () =>
        {
            IDisk? backing = subject.Backing is null ? null
                : await Qcow2Image.OpenAsync(BackingFile.Open(loop, subject.Backing), new ImageOptions { ReadOnly = true }, null);
            var image = await subject.OpenAsync(storage, new ImageOptions(), backing);
            using var buffer = new TableBuffer((int)image.Size);
            Assert.Equal(0, await image.ReadAsync(0, buffer.Take((int)image.Size)));
            Assert.True(buffer.Span[..expected.Length].SequenceEqual(expected), $"{moment}: the engine reads other bytes than are there");
            Assert.Equal(0, await image.WriteAsync(8192, buffer.Take(100 << 10), false));
            Assert.Equal(0, await image.CloseAsync());
            return 0;
        });
        var found = BytesChecker.Check(storage.Content);
        Assert.True(found.Errors == 0, $"{moment}, after reopening: {Findings(found)}");
    }

    private static string Findings(CheckResult result) =>
        string.Join("; ", result.Findings.Where(finding => result.Errors == 0 || finding.Severity == CheckSeverity.Error).Take(5)
            .Select(finding => finding.Message));
}
