using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Linq;
using System.Threading.Tasks;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Crash;

/// <summary>
/// The power goes at any moment of a resize: the disk has its old size or its new one, with what belongs there, in an image without
/// errors whose bitmaps fit; and whatever was left behind its end, a disk that is made larger then is zeroes there.
/// QCOW2BLK_CRASH_SEED=n runs one resize; QCOW2BLK_CRASH_SEEDS=n sets how many.
/// </summary>
public sealed class ResizePowerCutTests(ITestOutputHelper output)
{
    private const int Resizes = 150;
    private const int CutsPerResize = 30;
    private const int QemuEvery = 60;
    private const int Sector = 512;

    private static readonly Lazy<IReadOnlyList<Subject>> s_subjects = new(() => [.. Subject.All, .. Recorded()]);

    [Trait("Speed", "slow")]
    [Fact]
    public void A_disk_has_its_old_size_or_its_new_one_after_any_power_cut()
    {
        var only = Environment.GetEnvironmentVariable("QCOW2BLK_CRASH_SEED");
        var count = int.Parse(Environment.GetEnvironmentVariable("QCOW2BLK_CRASH_SEEDS") ?? $"{Resizes}");
        int[] seeds = only is null ? [.. Enumerable.Range(1, count)] : [int.Parse(only)];
        _ = s_subjects.Value;
        var failures = new ConcurrentBag<string>();
        var tally = new Tally();
        Parallel.ForEach(seeds, new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount }, seed =>
        {
            var subject = s_subjects.Value[seed % s_subjects.Value.Count];
            try
            {
                RunSeed(subject, seed, tally);
            }
            catch (Exception error)
            {
                failures.Add($"QCOW2BLK_CRASH_SEED={seed} ({subject.Name}): {(error is Xunit.Sdk.XunitException ? error.Message : error)}");
            }
        });
        output.WriteLine($"{tally.Before + tally.After} crash images: {tally.Before} of the old size, {tally.After} of the new;"
            + $" {tally.Refused} resizes were refused");
        Assert.True(failures.IsEmpty, $"{failures.Count} failed\n{string.Join("\n", failures.Order().Take(10))}");
        Assert.True(only is not null || (tally.Before > 0 && tally.After > 0), "no cut came before, or none after");
    }

    private static void RunSeed(Subject subject, int seed, Tally tally)
    {
        var random = new Random(seed);
        var old = subject.Content();
        var size = SizeFor(random, old.Length);
        var log = new StorageLog();
        var (answer, after) = Resize(subject, subject.Image, size, log);
        if (!answer.Succeeded)
        {
            // Only what qemu refuses too.
            Assert.True(answer.Why!.Contains("version 2", StringComparison.Ordinal), answer.Why);
            tally.CountRefused();
            return;
        }

        Assert.True(answer.Note is null, answer.Note);
        var wanted = new byte[size];
        old.AsSpan(0, (int)Math.Min(size, old.Length)).CopyTo(wanted);
        var scene = new Scene(subject, old, wanted, subject.Snapshots());
        Judge(scene, after, "after close", tally);
        Assert.True(BytesChecker.Check(after).IsClean, $"after close: {Findings(BytesChecker.Check(after))}");
        var crash = new CrashImage(subject.Image, log);
        var ticks = Enumerable.Range(0, CutsPerResize).Select(_ => Moment(log, random)).Order().ToArray();
        for (var cut = 0; cut < ticks.Length; cut++)
        {
            crash.AdvanceTo(ticks[cut]);
            crash.Cut(random);
            var moment = $"{old.Length} to {size}, cut {cut} at tick {ticks[cut]} of {log.Tick}";
            Judge(scene, crash.ToSparseBytes(), moment, tally);
            if ((seed + cut) % QemuEvery == 0)
                AskQemu(subject, crash, moment);
            crash.Restore();
        }
    }

    /// <summary>Near the old size, far from it, and on every kind of boundary.</summary>
    private static long SizeFor(Random random, int size)
    {
        int[] units = [Sector, 4096, 65536, 1 << 20];
        var unit = units[random.Next(units.Length)];
        var wanted = random.Next(4) switch
        {
            0 => random.Next(1, size / Sector) * (long)Sector,
            1 => size - (random.Next(1, 64) * (long)Sector),
            2 => size + (random.Next(1, 64) * (long)Sector),
            _ => size + random.Next(1, size),
        };
        return Math.Max(Sector, wanted / unit * unit) is var rounded && rounded != size ? rounded : size + Sector;
    }

    /// <summary>Right after something was brought to disk, or any moment.</summary>
    private static long Moment(StorageLog log, Random random)
    {
        if (random.Next(3) != 0 || log.Operations.Count == 0)
            return random.NextInt64(log.Tick + 1);
        var operation = log.Operations[random.Next(log.Operations.Count)];
        return operation.Completed == long.MaxValue ? log.Tick : operation.Completed + random.Next(4);
    }

    private static (EditAnswer Answer, SparseBytes After) Resize(Subject subject, SparseBytes content, long size, StorageLog? log)
    {
        EditAnswer answer = default;
        using var loop = new SimulatedLoop(1);
        var storage = new MemoryStorage(loop, content.Copy()) { Log = log };
        loop.Run(async () =>
        {
            var image = await OpenAsync(subject, loop, storage);
            answer = await image.Resize!.RefuseAsync(size, mayShrink: true) ?? await image.EditAsync(() => image.Resize.RunAsync(size));
            Assert.Equal(0, await image.CloseAsync());
            return 0;
        });
        return (answer, storage.Content);
    }

    private static async Scheduling.LoopTask<Qcow2Image> OpenAsync(Subject subject, SimulatedLoop loop, MemoryStorage storage)
    {
        IDisk? backing = subject.Backing is null ? null
            : await Qcow2Image.OpenAsync(BackingFile.Open(loop, subject.Backing), new ImageOptions { ReadOnly = true }, null);
        return await subject.OpenAsync(storage, new ImageOptions { Report = BrokenRule.Refuse }, backing);
    }

    private static void Judge(Scene scene, SparseBytes crash, string moment, Tally tally)
    {
        var found = BytesChecker.Check(crash);
        Assert.True(found.Errors == 0, $"{moment}: {Findings(found)}");
        var subject = scene.Subject;
        var now = subject.Reader(crash).ReadAll();
        tally.Count(now.Length == scene.After.Length);
        Assert.True(now.AsSpan().SequenceEqual(now.Length == scene.After.Length ? scene.After : scene.Before),
            $"{moment}: a disk of {now.Length} bytes reads neither as before nor as after");
        AssertSnapshots(scene, crash, moment);
        AssertBitmaps(subject, crash, moment);

        // Whatever the cut has left behind the end must not be seen later.
        var larger = now.Length + (3 << 20) + Sector;
        var (answer, grown) = Resize(subject, crash, larger, null);
        Assert.True(answer.Succeeded, $"{moment}, made larger: {answer.Why}");
        var content = subject.Reader(grown).ReadAll();
        Assert.True(content.Length == larger && content.AsSpan(0, now.Length).SequenceEqual(now), $"{moment}, made larger: other bytes");
        Assert.True(!content.AsSpan(now.Length).ContainsAnyExcept((byte)0), $"{moment}, made larger: not all of the new end is zeroes");
        found = BytesChecker.Check(grown);
        Assert.True(found.Errors == 0, $"{moment}, made larger: {Findings(found)}");
        AssertSnapshots(scene, grown, $"{moment}, made larger");
    }

    private static void AssertSnapshots(Scene scene, SparseBytes bytes, string moment)
    {
        var found = scene.Subject.Reader(bytes).Snapshots();
        Assert.Equal(scene.Snapshots.Count, found.Count);
        for (var index = 0; index < found.Count; index++)
        {
            Assert.True(
                found[index].ReadAll().AsSpan().SequenceEqual(scene.Snapshots[index]), $"{moment}: snapshot {index} reads other bytes");
        }
    }

    /// <summary>A table of bits that does not fit the disk is damage, to us and to qemu.</summary>
    private static void AssertBitmaps(Subject subject, SparseBytes bytes, string moment)
    {
        if (!subject.Name.StartsWith("bitmaps", StringComparison.Ordinal))
            return;
        using var loop = new SimulatedLoop(1);
        var storage = new MemoryStorage(loop, bytes.Copy());
        loop.Run(async () =>
        {
            var image = await OpenAsync(subject, loop, storage);
            Assert.True(image.Bitmaps.Damage is null, $"{moment}: {image.Bitmaps.Damage}");
            Assert.True(image.Bitmaps.UnkeptCount == 0, $"{moment}: {string.Join(", ", image.Bitmaps.Unkept)}");
            Assert.Equal(2, image.Bitmaps.Count);
            var bits = image.FindBitmap("fine")!;

            // Written: 0 to 64 KiB, and 2 MiB to 3 MiB.
            Assert.True(bits.IsSet(0), $"{moment}: the bitmap lacks what was written");
            Assert.True(bits.Shape.DiskSize <= 3 << 20 || bits.IsSet(((3 << 20) - 1) >> 9), $"{moment}: the bitmap lacks what was written");
            Assert.Equal(0, await image.CloseAsync());
            return 0;
        });
    }

    private static void AskQemu(Subject subject, CrashImage crash, string moment)
    {
        using var directory = new TempDirectory();
        Assert.True(subject.Check(crash, directory, out var report) != Verdict.Errors, $"{moment}: qemu-img check: {report}");
    }

    private static string Findings(CheckResult result) =>
        string.Join("; ", result.Findings.Where(finding => result.Errors == 0 || finding.Severity == CheckSeverity.Error).Take(5)
            .Select(finding => finding.Message));

    /// <summary>Bitmaps whose tables have another size with nearly every size of the disk; and a backing file that is longer.</summary>
    private static List<Subject> Recorded()
    {
        using var directory = new TempDirectory();
        var image = directory.File("image.qcow2");
        Qemu.Img("create", "-f", "qcow2", "-o", "cluster_size=512", image, "4M");
        Record(image);
        var small = new Subject("bitmaps, clusters of 512", SparseBytes.FromFile(image), null);
        Qemu.Img("create", "-f", "qcow2", "-o", "cluster_size=4096", image, "4M");
        Record(image);
        var plain = new Subject("bitmaps, clusters of 4096", SparseBytes.FromFile(image), null);
        var below = directory.File(Subject.BackingName);
        Qemu.Img("create", "-f", "qcow2", "-o", "cluster_size=16384", below, "9M");
        Qemu.Io(below, "write -P 161 0 9M");
        return [small, plain, Longer("overlay of a longer base", "cluster_size=4096"),
            Longer("overlay with subclusters of a longer base", "cluster_size=65536,extended_l2=on")];

        Subject Longer(string name, string options)
        {
            Qemu.Img("create", "-f", "qcow2", "-o", options, "-b", Subject.BackingName, "-F", "qcow2", image, $"{(4 << 20) - 5632}");
            Qemu.Io(image, "write -P 164 100k 300k");
            return new Subject(name, SparseBytes.FromFile(image), SparseBytes.FromFile(below));
        }
    }

    private static void Record(string image)
    {
        Qemu.Img("bitmap", "--add", "-g", "512", image, "fine");
        Qemu.Img("bitmap", "--add", "-g", "65536", "--disable", image, "still");
        Qemu.Io(image, "write -P 171 0 64k", "write -P 172 2M 1M");
    }

    private sealed record Scene(Subject Subject, byte[] Before, byte[] After, IReadOnlyList<byte[]> Snapshots);

    private sealed class Tally
    {
        private int _before;
        private int _after;
        private int _refused;

        public int Before => _before;

        public int After => _after;

        public int Refused => _refused;

        public void Count(bool isAfter) => System.Threading.Interlocked.Increment(ref isAfter ? ref _after : ref _before);

        public void CountRefused() => System.Threading.Interlocked.Increment(ref _refused);
    }
}
