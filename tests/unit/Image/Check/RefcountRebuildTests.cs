using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Image.Check;

/// <summary>Images that qemu left with the dirty bit set are repaired as qemu would.</summary>
public sealed class RefcountRebuildTests
{
    private const int DirtyBitAt = 79;

    public static IEnumerable<TheoryDataRow<string, int, bool>> Matrix =>
    [
        new("cluster_size=512", 1, true),
        new("cluster_size=512,refcount_bits=64", 4096, false),
        new("cluster_size=4096,refcount_bits=1", 512, false),
        new("cluster_size=4096,refcount_bits=2", 4096, true),
        new("cluster_size=65536", 512, true),
        new("cluster_size=65536,refcount_bits=32", 4096, false),
        new("cluster_size=2M", 1, false),
    ];

    [Theory]
    [MemberData(nameof(Matrix))]
    public void Image_of_a_killed_qemu_is_clean_after_repair(string options, int alignment, bool snapshot)
    {
        using var directory = new TempDirectory();
        var image = MakeDirty(directory, options, snapshot);
        var content = new GuestReader(SparseBytes.FromFile(image)).ReadAll();

        using var loop = new SimulatedLoop(alignment);
        using var storage = new MemoryStorage(loop, SparseBytes.FromFile(image), alignment);
        Assert.True(ImageChecker.Check(storage.Content).Errors > 0, "the image needed no repair");
        Assert.Equal(0, loop.Run(() => RefcountRebuild.RunAsync(storage, image)));

        var repaired = directory.File("repaired.qcow2");
        storage.Content.Save(repaired);
        Assert.True(Qemu.Check(repaired, out var report) == Verdict.Clean, report);
        Assert.True(ImageChecker.Check(storage.Content) is { IsClean: true, Dirty: false });
        Assert.Equal(content, new GuestReader(storage.Content).ReadAll());
        Qemu.Img("check", "-r", "all", image);
        Qemu.Img("compare", "-f", "qcow2", "-F", "qcow2", image, repaired);
    }

    [Theory]
    [InlineData("cluster_size=512", 1)]
    [InlineData("cluster_size=4096,refcount_bits=4", 512)]
    [InlineData("cluster_size=65536", 4096)]
    public void Repair_survives_power_cut_at_every_step(string options, int alignment)
    {
        using var directory = new TempDirectory();
        var before = SparseBytes.FromFile(MakeDirty(directory, options, snapshot: true));
        var content = new GuestReader(before).ReadAll();
        var log = Record(before, alignment);

        var random = new Random(alignment);
        var crash = new CrashImage(before, log);
        for (long tick = 0; tick <= log.Tick; tick++)
        {
            crash.AdvanceTo(tick);
            for (var cut = 0; cut < 8; cut++)
            {
                crash.Cut(random);
                AssertStillRepairs(crash, content, alignment);
                crash.Restore();
            }
        }
    }

    [Fact]
    public void Errno_of_any_step_is_reported_and_leaves_the_image_repairable()
    {
        using var directory = new TempDirectory();
        var before = SparseBytes.FromFile(MakeDirty(directory, "cluster_size=512", snapshot: true));
        var content = new GuestReader(before).ReadAll();
        var steps = 0;
        for (var failing = 0; ; failing++)
        {
            using var loop = new SimulatedLoop(failing);
            using var storage = new MemoryStorage(loop, before.Copy());
            steps = 0;
            storage.Fault = _ => steps++ == failing ? 5 : 0;
            var result = loop.Run(() => RefcountRebuild.RunAsync(storage, "disk.qcow2"));
            if (failing >= steps)
            {
                Assert.Equal(0, result);
                break;
            }

            Assert.Equal(-5, result);
            storage.Fault = null;
            Assert.Equal(0, loop.Run(() => RefcountRebuild.RunAsync(storage, "disk.qcow2")));
            Assert.True(ImageChecker.Check(storage.Content) is { IsClean: true, Dirty: false });
            Assert.Equal(content, new GuestReader(storage.Content).ReadAll());
        }

        Assert.True(steps > 10);
    }

    [Fact]
    public void Sparse_giant_is_repaired_with_blocks_for_what_is_used_only()
    {
        using var directory = new TempDirectory();
        var image = MakeDirty(directory, "cluster_size=65536", snapshot: false);
        using var loop = new SimulatedLoop(1);
        using var storage = new MemoryStorage(loop, SparseBytes.FromFile(image));
        var size = storage.Content.Allocated;
        storage.Content.SetLength(1L << 40);

        Assert.Equal(0, loop.Run(() => RefcountRebuild.RunAsync(storage, image)));

        Assert.InRange(storage.Content.Allocated, 0, size + (1 << 20));
    }

    [Fact]
    public void Damage_beyond_refcounts_is_refused_and_nothing_is_written()
    {
        using var directory = new TempDirectory();
        var image = MakeDirty(directory, "cluster_size=65536", snapshot: false);
        var bytes = File.ReadAllBytes(image);
        bytes[0x30000 + 4] = 0x7F;
        File.WriteAllBytes(image, bytes);
        using var loop = new SimulatedLoop(1);
        using var storage = new MemoryStorage(loop, SparseBytes.FromFile(image)) { Log = new StorageLog() };

        var error = Assert.Throws<ImageFormatException>(() => loop.Run(() => RefcountRebuild.RunAsync(storage, image)));

        Assert.Equal("incompatible_features", error.Field);
        Assert.Empty(storage.Log.Operations);
    }

    private static StorageLog Record(SparseBytes before, int alignment)
    {
        using var loop = new SimulatedLoop(alignment);
        using var storage = new MemoryStorage(loop, before.Copy(), alignment) { Log = new StorageLog() };
        Assert.Equal(0, loop.Run(() => RefcountRebuild.RunAsync(storage, "disk.qcow2")));
        return storage.Log;
    }

    private static void AssertStillRepairs(CrashImage crash, byte[] content, int alignment)
    {
        Assert.Equal(content, new GuestReader(crash).ReadAll());
        var found = ImageChecker.Check(crash);
        if (!found.Dirty)
        {
            Assert.Equal(0, found.Errors);
            return;
        }

        using var loop = new SimulatedLoop(alignment);
        using var storage = new MemoryStorage(loop, crash.ToSparseBytes(), alignment);
        Assert.Equal(0, loop.Run(() => RefcountRebuild.RunAsync(storage, "disk.qcow2")));
        Assert.True(ImageChecker.Check(storage.Content) is { IsClean: true, Dirty: false });
    }

    private static string MakeDirty(TempDirectory directory, string options, bool snapshot)
    {
        var image = directory.File("dirty.qcow2");
        Qemu.Img("create", "-f", "qcow2", "-o", "lazy_refcounts=on," + options, image, "3M");
        Qemu.Io(image, "write -P 1 0 200k");
        if (snapshot)
            Qemu.Img("snapshot", "-c", "before", image);
        var killed = Qemu.Run("qemu-io", "-f", "qcow2", "-c", "write -P 2 100k 300k", "-c", "write -P 3 2500k 1k", "-c", "flush", "-c", "sigraise 9", image);
        Assert.NotEqual(0, killed.Exit);
        Assert.True((File.ReadAllBytes(image)[DirtyBitAt] & 1) != 0, "qemu left no dirty bit: " + killed.Errors + killed.Output);
        return image;
    }
}
