using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Format;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Format;

/// <summary>The bitmaps extension gets into the first sector, and no moment of that loses anything but the names of features.</summary>
public sealed class BitmapsRoomTests : IDisposable
{
    private const int Sector = 512;
    private readonly Qcow2Blk.Tests.Shared.TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData("", "", true)]
    [InlineData("", "", false)]
    [InlineData("", "base.qcow2", true)]
    [InlineData("", "base.qcow2", false)]
    [InlineData("cluster_size=1k", "base.qcow2", false)]
    public void Extension_gets_into_the_first_sector_without_a_wrong_moment(string options, string backing, bool isThere)
    {
        var cluster = Cluster(options, backing);
        if (isThere)
            cluster = BitmapsExtensionEdit.Plan(cluster, s_pointing, "test")[^1];
        var before = Header.Parse(cluster, "test");
        Assert.Null(BitmapsExtensionEdit.DataInFirstSector(cluster));
        foreach (var step in BitmapsExtensionEdit.PlanRoom(cluster, s_pointing, "test"))
        {
            foreach (var torn in Torn(cluster, step))
            {
                var header = Header.Parse(torn, "test");
                Assert.Equal((before.BackingFile, before.BackingFormat), (header.BackingFile, header.BackingFormat));
                Assert.Equal(before.Bitmaps, header.Bitmaps);
                Assert.Equal(Others(before), Others(header));
            }

            cluster = step;
        }

        var place = BitmapsExtensionEdit.DataInFirstSector(cluster.AsSpan(0, Sector));
        Assert.True(place + BitmapsExtension.Length <= Sector);
        var after = Header.Parse(cluster, "test");
        Assert.Equal(HasNames(before), HasNames(after));
        Assert.Contains(after.Extensions, found => found.Type == HeaderExtension.Bitmaps && found.Data.SequenceEqual(s_pointing.Encode()));
        Assert.Empty(BitmapsExtensionEdit.PlanRoom(cluster, s_pointing, "test"));

        // And it goes again.
        foreach (var step in BitmapsExtensionEdit.Plan(cluster, null, "test"))
        {
            foreach (var torn in Torn(cluster, step))
                Assert.Equal(Others(before), Others(Header.Parse(torn, "test")));
            cluster = step;
        }

        Assert.Equal(HasNames(before), HasNames(Header.Parse(cluster, "test")));
        Assert.DoesNotContain(Header.Parse(cluster, "test").Extensions, found => found.Type == HeaderExtension.Bitmaps);
    }

    [Fact]
    public void Header_whose_first_sector_is_full_is_left_alone()
    {
        var cluster = Cluster("cluster_size=4k,data_file=" + _directory.File(new string('d', 200)), "");
        cluster = WithExtension(cluster, 0x12345678, 200);
        var error = Assert.Throws<ImageFormatException>(() => BitmapsExtensionEdit.PlanRoom(cluster, s_pointing, "test"));
        Assert.Contains("no room", error.Why);
    }

    private static readonly BitmapsExtension s_pointing = new(1, 32, new HostOffset(3 << 16));

    private static bool HasNames(Header header) => header.Extensions.Any(found => found.Type == HeaderExtension.FeatureNameTable);

    /// <summary>Names of features may be missing for a moment; nothing else may.</summary>
    private static string Others(Header header) => string.Join(' ', header.Extensions
        .Where(extension => extension.Type is not HeaderExtension.Bitmaps and not HeaderExtension.FeatureNameTable)
        .Select(extension => $"{extension.Type:x} {Convert.ToHexString(extension.Data)}"));

    private byte[] Cluster(string options, string backing)
    {
        var path = _directory.File("image.qcow2");
        List<string> arguments = ["create", "-q", "-f", "qcow2"];
        if (options.Length > 0)
            arguments.AddRange(["-o", options]);
        if (backing.Length > 0)
            arguments.AddRange(["-u", "-b", backing, "-F", "qcow2"]);
        Qemu.Img([.. arguments, path, "4M"]);
        var image = new ImageBytes(path);
        return image.Bytes[..image.Header.ClusterSize];
    }

    /// <summary>As some other program's, behind the others.</summary>
    private static byte[] WithExtension(byte[] cluster, uint type, int length)
    {
        var header = Header.Parse(cluster, "test");
        var last = header.Extensions[^1];
        var end = last.Offset + 8 + ((last.Data.Length + 7) & ~7);
        System.Buffers.Binary.BinaryPrimitives.WriteUInt32BigEndian(cluster.AsSpan(end), type);
        System.Buffers.Binary.BinaryPrimitives.WriteInt32BigEndian(cluster.AsSpan(end + 4), length);
        return cluster;
    }

    private static IEnumerable<byte[]> Torn(byte[] before, byte[] after)
    {
        int[] differing = [.. Enumerable.Range(0, before.Length / Sector)
            .Where(sector => !before.AsSpan(sector * Sector, Sector).SequenceEqual(after.AsSpan(sector * Sector, Sector)))];
        Assert.NotEmpty(differing);
        for (var mixture = 0; mixture < 1 << differing.Length; mixture++)
        {
            var torn = (byte[])before.Clone();
            for (var i = 0; i < differing.Length; i++)
            {
                if ((mixture & (1 << i)) != 0)
                    after.AsSpan(differing[i] * Sector, Sector).CopyTo(torn.AsSpan(differing[i] * Sector));
            }

            yield return torn;
        }
    }
}
