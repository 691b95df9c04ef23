using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Format;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Format;

/// <summary>Entries with a subcluster allocation bitmap that qemu wrote, and what no program may write.</summary>
public sealed class ExtendedL2EntryTests
{
    private const int Subcluster = 2048; // of clusters of 64 KiB

    [Fact]
    public void Bitmap_says_which_subclusters_qemu_wrote()
    {
        using var directory = new TempDirectory();
        var path = directory.File("disk.qcow2");
        QemuImg.Create(path, "1M", "extended_l2=on");
        QemuImg.Io(path, $"write -P 1 {2 * Subcluster} {3 * Subcluster}", $"write -z {10 * Subcluster} {Subcluster}",
            $"write -z 128k {Subcluster}", "write -c -P 2 256k 64k", "write -P 3 320k 64k");
        var image = new ImageBytes(path);
        var geometry = new Geometry(image.Header);

        Assert.Equal((true, 32, Subcluster, 16), (geometry.HasExtendedL2, geometry.SubclustersPerCluster, geometry.SubclusterSize,
            geometry.L2EntryBytes));
        var data = Entry(image, geometry, 0);
        Assert.Equal((L2Kind.Data, true, 0b1_1100u, 1u << 10), (data.Kind, data.Copied, data.Allocated, data.Zeroes));
        Assert.Equal([L2Kind.Unallocated, L2Kind.Data, L2Kind.Unallocated, L2Kind.ZeroAllocated, L2Kind.Unallocated],
            Kinds(data, geometry, 0, 2, 5, 10, 11));
        Assert.Equal((2, 3, 5, 1, 21), (data.RunAt(0, geometry), data.RunAt(2, geometry), data.RunAt(5, geometry),
            data.RunAt(10, geometry), data.RunAt(11, geometry)));
        var zero = Entry(image, geometry, 2);
        Assert.Equal((L2Kind.Unallocated, L2Kind.Zero, L2Kind.Unallocated),
            (zero.Kind, zero.KindAt(0, geometry), zero.KindAt(1, geometry)));
        Assert.Equal((L2Kind.Compressed, 32), (Entry(image, geometry, 4).Kind, Entry(image, geometry, 4).RunAt(0, geometry)));
        Assert.Equal((L2Entry.AllSubclusters, 32), (Entry(image, geometry, 5).Allocated, Entry(image, geometry, 5).RunAt(0, geometry)));
    }

    [Theory]
    [InlineData(0x8000000000050000, 0x0000000100000001)] // allocated and zero
    [InlineData(0x0000000000000000, 0x0000000000000010)] // allocated nowhere
    [InlineData(0x8000000000050200, 0x0000000000000001)] // not aligned to a cluster
    public void Entry_that_contradicts_itself_is_invalid(ulong descriptor, ulong bitmap)
    {
        var geometry = new Geometry(16, 1 << 20, extendedL2: true);
        var entry = L2Entry.Decode(new StoredL2Entry(descriptor, bitmap), geometry);
        Assert.Equal((L2Kind.Invalid, L2Kind.Invalid), (entry.Kind, entry.KindAt(4, geometry)));
    }

    [Fact]
    public void Start_of_a_data_file_is_a_place_only_with_COPIED()
    {
        var geometry = new Geometry(16, 1 << 20, dataFile: true);
        Assert.Equal(L2Kind.Data, L2Entry.Decode(new StoredL2Entry(L2Entry.CopiedFlag), geometry).Kind);
        Assert.Equal(L2Kind.Unallocated, L2Entry.Decode(new StoredL2Entry(0), geometry).Kind);
        Assert.Equal(L2Kind.Invalid, L2Entry.Decode(new StoredL2Entry(L2Entry.CompressedFlag | 0x50000), geometry).Kind);
        Assert.Equal(L2Kind.Unallocated, L2Entry.Decode(new StoredL2Entry(L2Entry.CopiedFlag), new Geometry(16, 1 << 20)).Kind);
    }

    private static IEnumerable<L2Kind> Kinds(L2Entry entry, Geometry geometry, params int[] subclusters) =>
        subclusters.Select(subcluster => entry.KindAt(subcluster, geometry));

    private static L2Entry Entry(ImageBytes image, in Geometry geometry, int cluster)
    {
        var table = L1Entry.Decode(image.U64(image.Header.L1TableOffset.Value)).Offset.Value;
        return L2Entry.Decode(new StoredL2Entry(image.U64(table + (cluster * 16)), image.U64(table + (cluster * 16) + 8)), geometry);
    }
}
