using System.Linq;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>How much a small write into a large cluster copies.</summary>
public sealed class SubclusterCopyTests
{
    private const int Cluster = 2 << 20;
    private const int Subcluster = Cluster / 32;

    [Theory]
    [InlineData("extended_l2=on", Subcluster)]
    [InlineData("extended_l2=off", Cluster)]
    public void Write_over_a_backing_file_copies_what_surrounds_it_in_its_subcluster(string option, int expected)
    {
        using var directory = new TempDirectory();
        var below = directory.File("base.qcow2");
        var image = directory.File("image.qcow2");
        Qemu.Img("create", "-f", "qcow2", below, "8M");
        Qemu.Io(below, "write -P 7 0 8M");
        Qemu.Img("create", "-f", "qcow2", "-o", $"cluster_size=2M,{option}", "-b", below, "-F", "qcow2", image, "8M");
        using var run = new OneImage(SparseBytes.FromFile(image), SparseBytes.FromFile(below));
        run.Storage.Log = new StorageLog();

        Assert.Equal(0, run.Write((3L << 20) + 20480, 4096, 9));

        var written = run.Storage.Log.Operations.Where(operation => operation.Kind == StorageOperationKind.Write)
            .Sum(operation => operation.Length);
        Assert.Equal(expected, written - MetadataBytes(run.Storage.Log));
        Assert.Equal(0, run.Expect((3L << 20) + 20480, 4096, 9));
        Assert.Equal(0, run.Expect((3L << 20) + 16384, 4096, 7));
        Assert.Equal(0, run.Expect((3L << 20) + 24576, 1 << 20, 7));
        Assert.True(run.Close().IsClean);
    }

    /// <summary>The header, and the slice of a refcount block.</summary>
    private static long MetadataBytes(StorageLog log) => log.Operations
        .Where(operation => operation.Kind == StorageOperationKind.Write && operation.Length <= 4096).Sum(operation => operation.Length);
}
