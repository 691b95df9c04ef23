using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Linq;
using System.Threading.Tasks;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Bitmaps;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Crash;

/// <summary>
/// The power goes at any moment of a random workload on an image whose bitmaps record: each of them is valid afterwards, and lacks no
/// block that reads otherwise than before. QCOW2BLK_CRASH_SEED=n runs one workload; QCOW2BLK_CRASH_SEEDS=n sets how many.
/// </summary>
public sealed class BitmapPowerCutTests(ITestOutputHelper output)
{
    private const int Workloads = 60;
    private const int CutsPerWorkload = 40;
    private const int DiskSize = 4 << 20;

    private static readonly string[] s_recorded = ["fine", "coarse"];

    private static readonly Lazy<IReadOnlyList<Subject>> s_subjects = new(MakeAll);

    [Trait("Speed", "slow")]
    [Fact]
    public void Bitmaps_are_valid_and_lack_nothing_after_any_power_cut()
    {
        var only = Environment.GetEnvironmentVariable("QCOW2BLK_CRASH_SEED");
        var count = int.Parse(Environment.GetEnvironmentVariable("QCOW2BLK_CRASH_SEEDS") ?? $"{Workloads}");
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
        output.WriteLine($"{tally.Cuts} crash images, {tally.InUse} of them with bitmaps in use, {tally.Extra} bits more than changed");
        Assert.True(failures.IsEmpty, string.Join("\n", failures.Take(10)));
        Assert.True(only is not null || tally.InUse > 0, "no cut came while a bitmap was in use");
    }

    private static void RunSeed(Subject subject, int seed, Tally tally)
    {
        var workload = new Workload(subject, seed);
        workload.Run(requests: 80);
        var original = subject.Content();
        Judge(subject, workload.After, original, "after close", tally);
        Assert.False(IsInUse(workload.After), "after close: a bitmap is in use");
        var random = new Random(seed);
        var crash = new CrashImage(subject.Image, workload.Log);
        foreach (var tick in Enumerable.Range(0, CutsPerWorkload).Select(_ => random.NextInt64(workload.Log.Tick + 1)).Order())
        {
            crash.AdvanceTo(tick);
            crash.Cut(random);
            Judge(subject, crash.ToSparseBytes(), original, $"cut at tick {tick}", tally);
            crash.Restore();
        }
    }

    private static void Judge(Subject subject, SparseBytes content, byte[] original, string moment, Tally tally)
    {
        tally.Count(IsInUse(content));
        using var loop = new SimulatedLoop(1);
        var storage = new MemoryStorage(loop, content);
        loop.Run(async () =>
        {
            IDisk? backing = subject.Backing is null ? null
                : await Qcow2Image.OpenAsync(BackingFile.Open(loop, subject.Backing), new ImageOptions { ReadOnly = true }, null);
            var image = await Qcow2Image.OpenAsync(storage, new ImageOptions { Report = BrokenRule.Refuse }, backing);
            using var buffer = new TableBuffer((int)image.Size);
            Assert.Equal(0, await image.ReadAsync(0, buffer.Take((int)image.Size)));
            foreach (var name in s_recorded)
            {
                Assert.True(image.FindBitmap(name) is not null, $"{moment}: bitmap {name} is not valid");
                tally.AddExtra(RequireComplete(image.FindBitmap(name)!, buffer.Span, original, $"{moment}: bitmap {name}"));
            }

            Assert.Equal(0, await image.CloseAsync());
            return 0;
        });
        var found = BytesChecker.Check(storage.Content);
        Assert.True(found.Errors == 0,
            $"{moment}, after reopening: {string.Join("; ", found.Findings.Take(5).Select(finding => finding.Message))}");
        Assert.False(IsInUse(storage.Content), $"{moment}, after reopening: a bitmap is in use");
    }

    /// <returns>how many bits are set without need</returns>
    private static int RequireComplete(DirtyBitmap bits, ReadOnlySpan<byte> now, byte[] original, string what)
    {
        var extra = 0;
        var size = 1 << bits.Shape.GranularityBits;
        for (var bit = 0; bit < bits.Shape.Bits; bit++)
        {
            var start = bit * size;
            var length = Math.Min(size, original.Length - start);
            var differs = !now.Slice(start, length).SequenceEqual(original.AsSpan(start, length));
            if (differs && !bits.IsSet(bit))
                Assert.Fail($"{what} lacks bit {bit}: the disk reads otherwise there than before");
            extra += !differs && bits.IsSet(bit) ? 1 : 0;
        }

        return extra;
    }

    private static bool IsInUse(SparseBytes content)
    {
        var start = new byte[(int)Math.Min(content.Length, Header.MaxParseBytes)];
        content.Read(0, start);
        var header = Header.Parse(start, "crash");
        var directory = new byte[header.Bitmaps!.DirectorySize];
        content.Read(header.Bitmaps.DirectoryOffset.Value, directory);
        return BitmapDirectory.Parse(directory, header.Bitmaps, header)
            .Any(entry => s_recorded.Contains(entry.Name) && entry.Flags.HasFlag(BitmapFlags.InUse));
    }

    private static List<Subject> MakeAll()
    {
        using var directory = new TempDirectory();
        return
        [
            Make(directory, "empty, clusters of 65536", "cluster_size=65536", _ => { }),
            Make(directory, "clusters of 512", "cluster_size=512,refcount_bits=64", _ => { }),
            Make(directory, "clusters of 4096, written", "cluster_size=4096", image => Qemu.Io(image, "write -P 171 0 1200k")),
            Make(directory, "snapshot", "cluster_size=4096", image =>
            {
                Qemu.Io(image, "write -P 171 0 1200k", "write -z 1300k 100k");
                Qemu.Img("snapshot", "-c", "first", image);
            }),
            Make(directory, "preallocated", "cluster_size=4096,preallocation=metadata", _ => { }),
        ];
    }

    /// <summary>Its bitmaps have bits already, of writes that changed nothing that a later one undoes.</summary>
    private static Subject Make(TempDirectory directory, string name, string options, Action<string> prepare)
    {
        var image = directory.File("image.qcow2");
        Qemu.Img("create", "-q", "-f", "qcow2", "-o", options, image, $"{DiskSize}");
        prepare(image);
        Qemu.Img("bitmap", "--add", "-g", "512", image, "fine");
        Qemu.Img("bitmap", "--add", "-g", "65536", image, "coarse");
        Qemu.Img("bitmap", "--add", "--disable", image, "still");
        return new Subject(name, SparseBytes.FromFile(image), null);
    }

    private sealed class Tally
    {
        private int _cuts;
        private int _inUse;
        private long _extra;

        public int Cuts => _cuts;

        public int InUse => _inUse;

        public long Extra => _extra;

        public void Count(bool inUse)
        {
            System.Threading.Interlocked.Increment(ref _cuts);
            System.Threading.Interlocked.Add(ref _inUse, inUse ? 1 : 0);
        }

        public void AddExtra(int bits) => System.Threading.Interlocked.Add(ref _extra, bits);
    }
}
