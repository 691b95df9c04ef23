using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Image.Bitmaps;

/// <summary>
/// A pointer of a bitmap names a cluster that is something else. What that holds stays, whatever is then done: writes, which mark bits;
/// removal of the bitmaps, which gives up clusters; and writes that take what is free.
/// </summary>
public sealed class ForeignClusterTests : IDisposable
{
    private const int Disk = 4 << 20;
    private readonly Qcow2Blk.Tests.Shared.TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    public enum Owner
    {
        GuestData,
        SnapshotData,
        CompressedData,
        ActiveL2,
        SnapshotL2,
        ActiveL1,
        SnapshotL1,
        RefcountTable,
        RefcountBlock,
        OtherBitmapsData,
        OtherBitmapsTable,
        Directory,
    }

    [Theory]
    [MemberData(nameof(Owners))]
    public void Data_of_a_bitmap_that_is_something_else_is_not_written(Owner owner)
    {
        foreach (var bitmap in (int[])[0, 2])
        {
            var image = Make();
            image.Put64(Entries(image)[bitmap].TableOffset.Value, (ulong)Cluster(image, owner));
            Serve(image, $"data of bitmap {bitmap} is {owner}");
        }
    }

    [Theory]
    [MemberData(nameof(Owners))]
    public void Table_of_a_bitmap_that_is_something_else_is_not_written(Owner owner)
    {
        foreach (var bitmap in (int[])[0, 2])
        {
            var image = Make();
            image.Put64(image.Header.Bitmaps!.DirectoryOffset.Value + Entries(image)[bitmap].EntryOffset, (ulong)Cluster(image, owner));
            Serve(image, $"table of bitmap {bitmap} is {owner}");
        }
    }

    [Fact]
    public void Directory_that_is_guest_data_is_not_written()
    {
        var image = Make();
        var extension = image.Header.Bitmaps!;
        var data = Cluster(image, Owner.GuestData);
        image.Bytes.AsSpan((int)extension.DirectoryOffset.Value, extension.DirectorySize).CopyTo(image.Bytes.AsSpan((int)data));
        var field = image.Header.Extensions.Single(found => found.Type == HeaderExtension.Bitmaps).Offset + 8 + 16;
        image.Put64(field, (ulong)data);
        Assert.Equal(data, image.Header.Bitmaps!.DirectoryOffset.Value);
        Serve(image, "the directory is guest data");
    }

    [Fact]
    public void Cluster_of_two_bitmaps_is_neither_marked_nor_given_up()
    {
        // The one that is disabled must not lose bits because the other marks its own.
        var image = Make();
        var entries = Entries(image);
        var before = (long)(image.U64(entries[2].TableOffset.Value) & BitmapOffset);
        image.Put64(entries[0].TableOffset.Value, (ulong)before);
        var kept = image.Bytes.AsSpan((int)before, 4096).ToArray();
        var after = Serve(image, "one cluster of two bitmaps", removes: false);
        Assert.Equal(kept, after.AsSpan((int)before, 4096).ToArray());
    }

    public static TheoryData<Owner> Owners => [.. Enum.GetValues<Owner>()];

    private const ulong BitmapOffset = 0x00ff_ffff_ffff_fe00;

    /// <summary>Bitmap 0 and 1 record, 2 does not, and each has data; a snapshot has tables and data of its own.</summary>
    private ImageBytes Make()
    {
        var path = _directory.File("image.qcow2");
        Qemu.Img("create", "-q", "-f", "qcow2", "-o", "cluster_size=4096", path, "4M");
        foreach (var name in (string[])["a", "b", "c"])
            Qemu.Img("bitmap", "--add", "-g", "4096", path, name);
        Qemu.Io(path, "write -z 0 64k", "write -P 0 0 64k", "write -P 5 64k 64k", "write -c -P 6 128k 4k");
        Qemu.Img("snapshot", "-c", "s", path);
        Qemu.Io(path, "write -P 0 0 8k", "write -P 7 64k 8k");
        Qemu.Img("bitmap", "--disable", path, "c");
        return new ImageBytes(path);
    }

    private static IReadOnlyList<BitmapEntry> Entries(ImageBytes image)
    {
        var extension = image.Header.Bitmaps!;
        return BitmapDirectory.Parse(
            image.Bytes.AsSpan((int)extension.DirectoryOffset.Value, extension.DirectorySize), extension, image.Header);
    }

    private static long Cluster(ImageBytes image, Owner owner)
    {
        var header = image.Header;
        var table = image.Bytes.AsSpan((int)header.SnapshotsOffset.Value);
        var snapshot = SnapshotTable.Parse(table, header.SnapshotCount, image.Path, out _)[0];
        var snapshotL1 = snapshot.L1TableOffset;
        var geometry = new Geometry(header);
        return owner switch
        {
            // All zeroes: a table of a bitmap could look so.
            Owner.GuestData => (long)image.L2Entries(header.L1TableOffset, header.L1Size).First().Raw & (long)L2Entry.OffsetMask,
            Owner.SnapshotData => (long)image.L2Entries(snapshotL1, snapshot.L1Size).First().Raw & (long)L2Entry.OffsetMask,
            Owner.CompressedData => L2Entry.Decode(
                image.L2Entries(header.L1TableOffset, header.L1Size).Single(entry => entry.GuestCluster == 32).Raw, geometry)
                .Host.Value & ~4095L,
            Owner.ActiveL2 => L1Entry.Decode(image.U64(header.L1TableOffset.Value)).Offset.Value,
            Owner.SnapshotL2 => L1Entry.Decode(image.U64(snapshotL1.Value)).Offset.Value,
            Owner.ActiveL1 => header.L1TableOffset.Value,
            Owner.SnapshotL1 => snapshotL1.Value,
            Owner.RefcountTable => header.RefcountTableOffset.Value,
            Owner.RefcountBlock => (long)image.U64(header.RefcountTableOffset.Value),
            Owner.OtherBitmapsData => (long)(image.U64(Entries(image)[1].TableOffset.Value) & BitmapOffset),
            Owner.OtherBitmapsTable => Entries(image)[1].TableOffset.Value,
            _ => header.Bitmaps!.DirectoryOffset.Value,
        };
    }

    /// <returns>what the file holds at the end</returns>
    private static byte[] Serve(ImageBytes image, string what, bool removes = true)
    {
        var content = new SparseBytes();
        content.Write(0, image.Bytes);
        var (disk, snapshot) = (Read(content, null), Read(content, "s"));
        Use(content, 2 << 20, removes: false);
        Assert.True(Same(disk, Read(content, null)), $"{what}: marks were written over the disk");
        if (removes)
            Use(content, 3 << 20, removes: true);
        Use(content, (3 << 20) + (256 << 10), removes: false);
        Assert.True(Same(disk, Read(content, null)), $"{what}: a cluster of the disk was given up");
        Assert.True(snapshot.AsSpan().SequenceEqual(Read(content, "s")), $"{what}: the snapshot was changed");
        var bytes = new byte[content.Length];
        content.Read(0, bytes);
        return bytes;

        static bool Same(byte[] before, byte[] after) => before.AsSpan(0, 2 << 20).SequenceEqual(after.AsSpan(0, 2 << 20));
    }

    private static byte[] Read(SparseBytes content, string? snapshot)
    {
        var bytes = new byte[Disk];
        using var loop = new SimulatedLoop(1);
        loop.Run(async () =>
        {
            var image = await Qcow2Image.OpenAsync(
                new MemoryStorage(loop, content), new ImageOptions { ReadOnly = true, Snapshot = snapshot }, null);
            using var buffer = new TableBuffer(Disk);
            Assert.Equal(0, await image.ReadAsync(0, buffer.Take(Disk)));
            buffer.Span.CopyTo(bytes);
            return await image.CloseAsync();
        });
        return bytes;
    }

    private static void Use(SparseBytes content, long offset, bool removes)
    {
        using var loop = new SimulatedLoop(1);
        loop.Run(async () =>
        {
            var image = await Qcow2Image.OpenAsync(new MemoryStorage(loop, content), new ImageOptions { Report = BrokenRule.Refuse }, null);
            if (removes)
                await RemoveAsync(image);
            using var buffer = new TableBuffer(256 << 10);
            buffer.Take(256 << 10).Span.Fill(9);
            Assert.Equal(0, await image.WriteAsync(offset, buffer.Take(256 << 10), forceUnitAccess: true));
            return await image.CloseAsync();
        });
    }

    private static async LoopTask<int> RemoveAsync(Qcow2Image image)
    {
        foreach (var name in (string[])["a", "b", "c"])
            await image.EditAsync(() => image.BitmapEditor.RemoveAsync(name));
        return 0;
    }
}
