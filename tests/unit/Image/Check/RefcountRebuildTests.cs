using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
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
        Assert.True(BytesChecker.Check(storage.Content).Errors > 0, "the image needed no repair");
        Assert.Equal(0, loop.Run(() => DirtyImage.RepairAsync(storage, image)));

        var repaired = directory.File("repaired.qcow2");
        storage.Content.Save(repaired);
        Assert.True(Qemu.Check(repaired, out var report) == Verdict.Clean, report);
        Assert.True(BytesChecker.Check(storage.Content) is { IsClean: true, Dirty: false });
        Assert.Equal(content, new GuestReader(storage.Content).ReadAll());
        Qemu.Img("check", "-r", "all", image);
        Qemu.Img("compare", "-f", "qcow2", "-F", "qcow2", image, repaired);
    }

    [Theory]
    [InlineData("cluster_size=512", 1, false)]
    [InlineData("cluster_size=512", 512, true)]
    [InlineData("cluster_size=4096,refcount_bits=4", 512, false)]
    [InlineData("cluster_size=65536", 4096, false)]
    [InlineData("cluster_size=65536", 1, true)]
    public void Repair_survives_power_cut_at_every_step(string options, int alignment, bool endsInHole)
    {
        using var directory = new TempDirectory();
        var before = SparseBytes.FromFile(MakeDirty(directory, options, snapshot: true));
        if (endsInHole)
            before.SetLength(before.Length + (1 << 20));
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
            var result = loop.Run(() => DirtyImage.RepairAsync(storage, "disk.qcow2"));
            if (failing >= steps)
            {
                Assert.Equal(0, result);
                break;
            }

            Assert.Equal(-5, result);
            storage.Fault = null;
            Assert.Equal(0, loop.Run(() => DirtyImage.RepairAsync(storage, "disk.qcow2")));
            Assert.True(BytesChecker.Check(storage.Content) is { IsClean: true, Dirty: false });
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

        Assert.Equal(0, loop.Run(() => DirtyImage.RepairAsync(storage, image)));

        Assert.InRange(storage.Content.Allocated, 0, size + (1 << 20));
    }

    [Theory]
    [InlineData(8L << 40, 65536)]
    [InlineData(1L << 39, 512)]
    [InlineData(64L << 40, 2 << 20)]
    public void Image_that_was_made_terabytes_long_costs_what_it_stores(long length, int clusterSize)
    {
        using var directory = new TempDirectory();
        var image = SparseBytes.FromFile(MakeDirty(directory, $"cluster_size={clusterSize}", snapshot: true));
        var content = new GuestReader(image).ReadAll();
        var small = Cost(image.Copy(), out _, out _);
        var stored = image.Allocated;
        image.SetLength(length);

        var large = Cost(image, out var memory, out var check);

        Assert.InRange(large, 0, small + Header.MaxParseBytes);
        Assert.InRange(memory, 0, 32 << 20);
        Assert.InRange(check, 0, 32 << 20);
        Assert.InRange(image.Allocated, 0, stored + (12 << 20));
        Assert.Equal(content, new GuestReader(image).ReadAll());
    }

    [Fact]
    public void Image_that_was_made_long_is_clean_to_qemu_after_repair()
    {
        using var directory = new TempDirectory();
        var image = MakeDirty(directory, "cluster_size=65536", snapshot: true);
        using var loop = new SimulatedLoop(1);
        using var storage = new MemoryStorage(loop, SparseBytes.FromFile(image));
        storage.Content.SetLength(256L << 30);

        Assert.Equal(0, loop.Run(() => DirtyImage.RepairAsync(storage, image)));

        storage.Content.Save(image);
        Assert.True(Qemu.Check(image, out var report) == Verdict.Clean, report);
    }

    [Fact]
    public void File_that_cannot_grow_is_repaired_in_the_hole_at_its_end()
    {
        using var directory = new TempDirectory();
        var image = MakeDirty(directory, "cluster_size=65536", snapshot: true);
        using var loop = new SimulatedLoop(1);
        using var storage = new MemoryStorage(loop, SparseBytes.FromFile(image));
        storage.Content.SetLength(1L << 40);
        storage.SpaceLimit = 1L << 40;

        Assert.Equal(0, loop.Run(() => DirtyImage.RepairAsync(storage, image)));

        Assert.Equal(1L << 40, storage.Content.Length);
        Assert.True(BytesChecker.Check(storage.Content) is { IsClean: true, Dirty: false });
    }

    [Fact]
    public void Data_at_the_end_of_a_long_file_is_not_written_over()
    {
        using var directory = new TempDirectory();
        var image = MakeDirty(directory, "cluster_size=65536", snapshot: false);
        using var loop = new SimulatedLoop(1);
        using var storage = new MemoryStorage(loop, SparseBytes.FromFile(image));
        var last = 1L << 40;
        storage.Content.Write(last, new byte[] { 1, 2, 3 }); // nothing refers to it: not ours to judge

        Assert.Equal(0, loop.Run(() => DirtyImage.RepairAsync(storage, image)));

        Assert.Equal([1, 2, 3], storage.Content.Bytes(last, 3));
        Assert.True(BytesChecker.Check(storage.Content) is { IsClean: true, Dirty: false });
    }

    [Fact]
    public void Clusters_far_apart_are_counted()
    {
        const ulong copied = 1UL << 63;
        using var directory = new TempDirectory();
        var image = MakeDirty(directory, "cluster_size=65536", snapshot: false);
        using var loop = new SimulatedLoop(1);
        using var storage = new MemoryStorage(loop, SparseBytes.FromFile(image));
        storage.Content.SetLength(8L << 40);
        var table = storage.Content.L2Table();
        for (var entry = 48; entry < 8192; entry++)
            storage.Content.Put64(table + entry * 8, copied | ((ulong)entry << 29));

        var before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Equal(0, loop.Run(() => DirtyImage.RepairAsync(storage, image)));
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1L << 30); // MemoryStorage keeps what is written

        Assert.True(BytesChecker.Check(storage.Content) is { IsClean: true, Dirty: false } found && found.UsedClusters > 8000);
    }

    [Fact]
    public void Tables_in_holes_are_not_read()
    {
        using var directory = new TempDirectory();
        var image = MakeDirty(directory, "cluster_size=65536", snapshot: false);
        using var loop = new SimulatedLoop(1);
        using var storage = new MemoryStorage(loop, SparseBytes.FromFile(image));
        storage.Content.SetLength(8L << 40);
        for (var entry = 1; entry < 8192; entry++)
            storage.Content.Put64(storage.Content.L1Table() + entry * 8, (ulong)entry << 29);
        storage.Content.Write(36, [0, 0, 0x20, 0]); // l1_size
        var read = 0L;
        storage.Fault = operation => (read += operation.Kind == StorageOperationKind.Read ? operation.Length : 0) < 0 ? 1 : 0;

        Assert.Equal(0, loop.Run(() => DirtyImage.RepairAsync(storage, image)));

        Assert.InRange(read, 1, 16 << 20);
        Assert.True(BytesChecker.Check(storage.Content) is { IsClean: true, Dirty: false });
    }

    [Fact]
    public void Refcount_table_that_nobody_would_open_is_not_made()
    {
        using var directory = new TempDirectory();
        var image = MakeDirty(directory, "cluster_size=512", snapshot: false);
        using var loop = new SimulatedLoop(1);
        using var storage = new MemoryStorage(loop, SparseBytes.FromFile(image)) { Log = new StorageLog() };
        storage.Content.SetLength(1L << 39);
        storage.Content.Put64(storage.Content.L2Table() + 63 * 8, (1L << 39) - 512);

        var error = Assert.Throws<ImageFormatException>(() => loop.Run(() => DirtyImage.RepairAsync(storage, image)));

        Assert.Contains("refcount table", error.Message, StringComparison.Ordinal);
        Assert.All(storage.Log.Operations, operation => Assert.Equal(StorageOperationKind.Flush, operation.Kind));
    }

    [Fact]
    public void Table_that_snapshots_name_again_and_again_is_read_once()
    {
        using var directory = new TempDirectory();
        var image = directory.File("snapshots.qcow2");
        Qemu.Img("create", "-f", "qcow2", image, "1M");
        for (var number = 0; number < 40; number++)
            Qemu.Img("snapshot", "-c", $"{number}", image);
        using var loop = new SimulatedLoop(1);
        using var storage = new MemoryStorage(loop, SparseBytes.FromFile(image));
        var start = (long)storage.Content.U64(HeaderField.SnapshotsOffset);
        foreach (var snapshot in SnapshotTable.Parse(storage.Content.Bytes(start, 65536), 40, image, out _))
        {
            storage.Content.Put64(start + snapshot.EntryOffset, 64UL << 20);
            storage.Content.Write(start + snapshot.EntryOffset + 8, [0, 0x40, 0, 0]); // 32 MiB of L1 entries
        }

        storage.Content.SetLength(1L << 40);
        storage.Content.Write(DirtyBitAt, [1]);
        var read = 0L;
        storage.Fault = operation => (read += operation.Kind == StorageOperationKind.Read ? operation.Length : 0) < 0 ? 1 : 0;
        Assert.Equal(0, loop.Run(() => DirtyImage.RepairAsync(storage, image)));

        Assert.InRange(read, 1, 16 << 20);
    }

    /// <summary>Bytes that a repair moves, and of managed memory that it and a check after it take.</summary>
    private static long Cost(SparseBytes content, out long repairMemory, out long checkMemory)
    {
        var moved = 0L;
        using var loop = new SimulatedLoop(1);
        using var storage = new MemoryStorage(loop, content);
        storage.Fault = operation =>
            (moved += operation.Kind is StorageOperationKind.Read or StorageOperationKind.Write ? operation.Length : 0) < 0 ? 1 : 0;
        var start = GC.GetAllocatedBytesForCurrentThread();
        Assert.Equal(0, loop.Run(() => DirtyImage.RepairAsync(storage, "disk.qcow2")));
        repairMemory = GC.GetAllocatedBytesForCurrentThread() - start;
        start = GC.GetAllocatedBytesForCurrentThread();
        Assert.True(BytesChecker.Check(content) is { IsClean: true, Dirty: false });
        checkMemory = GC.GetAllocatedBytesForCurrentThread() - start;
        return moved;
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

        var error = Assert.Throws<ImageFormatException>(() => loop.Run(() => DirtyImage.RepairAsync(storage, image)));

        Assert.Equal("incompatible_features", error.Field);
        Assert.All(storage.Log.Operations, operation => Assert.Equal(StorageOperationKind.Flush, operation.Kind));
    }

    private static StorageLog Record(SparseBytes before, int alignment)
    {
        using var loop = new SimulatedLoop(alignment);
        using var storage = new MemoryStorage(loop, before.Copy(), alignment) { Log = new StorageLog() };
        Assert.Equal(0, loop.Run(() => DirtyImage.RepairAsync(storage, "disk.qcow2")));
        return storage.Log;
    }

    private static void AssertStillRepairs(CrashImage crash, byte[] content, int alignment)
    {
        Assert.Equal(content, new GuestReader(crash).ReadAll());
        var found = BytesChecker.Check(crash);
        if (!found.Dirty)
        {
            Assert.Equal(0, found.Errors);
            return;
        }

        using var loop = new SimulatedLoop(alignment);
        using var storage = new MemoryStorage(loop, crash.ToSparseBytes(), alignment);
        Assert.Equal(0, loop.Run(() => DirtyImage.RepairAsync(storage, "disk.qcow2")));
        Assert.True(BytesChecker.Check(storage.Content) is { IsClean: true, Dirty: false });
    }

    private static string MakeDirty(TempDirectory directory, string options, bool snapshot)
    {
        var image = directory.File("dirty.qcow2");
        Qemu.Img("create", "-f", "qcow2", "-o", "lazy_refcounts=on," + options, image, "3M");
        Qemu.Io(image, "write -P 1 0 200k");
        if (snapshot)
            Qemu.Img("snapshot", "-c", "before", image);
        var killed = Qemu.Run("qemu-io", "-f", "qcow2", "-c", "write -P 2 100k 300k", "-c", "write -P 3 2500k 1k", "-c", "flush", "-c",
            "sigraise 9", image);
        Assert.NotEqual(0, killed.Exit);
        Assert.True((File.ReadAllBytes(image)[DirtyBitAt] & 1) != 0, "qemu left no dirty bit: " + killed.Errors + killed.Output);
        return image;
    }
}
