using System;
using System.IO;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Tables with random damage: the image is refused in one line, or served with errors where it must be; nobody dies or
/// hangs.</summary>
public sealed class RandomDamageTests
{
    private const int ImagesPerSeed = 8;

    // Header, refcount table, refcount block, L1, L2 and snapshot table of an image with 4 KiB clusters lie in its first clusters.
    private const int MetadataBytes = 24 << 10;

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    public void Server_survives(int seed)
    {
        using var folder = new Folder();
        var good = folder.Image("good.qcow2", "4M", "cluster_size=4k");
        Run.QemuIo(good, "write -P 1 0 64k", "write -P 2 3M 64k");
        Run.QemuImg("snapshot", "-c", "one", good);
        Run.QemuIo(good, "write -P 3 32k 64k");
        var random = new Random(seed);

        for (var i = 0; i < ImagesPerSeed; i++)
        {
            var image = folder.File($"damaged{i}.qcow2");
            File.Copy(good, image);
            var damage = Damage(image, random);
            var attached = folder.Qcow2Blk("attach", image, "--socket", folder.File("s"), "--name", $"d{i}", "--discard", "unmap");
            if (attached.Status == 0)
                UseAndDetach(folder, $"d{i}", attached.Output.Trim(), damage);
            else
                attached.Refused(1, Path.GetFileName(image));
        }
    }

    /// <summary>Bytes, entries of other places, or all ones, at random places after the magic number.</summary>
    private static string Damage(string image, Random random)
    {
        var damage = "";
        for (var i = random.Next(1, 6); i > 0; i--)
        {
            long offset = random.Next(1, MetadataBytes / 8) * 8;
            var bytes = random.Next(4) switch
            {
                0 => Bytes.BigEndian((ulong)random.NextInt64(), 8),
                1 => Bytes.BigEndian((1UL << 63) | (ulong)random.Next(0, 64) << 12, 8),
                2 => Bytes.BigEndian((1UL << 62) | (ulong)random.NextInt64(1L << 62), 8),
                _ => Bytes.BigEndian(ulong.MaxValue >> random.Next(64), 8),
            };
            Bytes.Overwrite(image, offset, bytes);
            damage += $" {offset}:{Convert.ToHexString(bytes)}";
        }

        return damage;
    }

    private static void UseAndDetach(Folder folder, string name, string uri, string damage)
    {
        foreach (var command in new[] { "read 0 4M", "write -P 9 0 256k", "write -z 3M 64k", "discard 0 128k", "write -P 8 2M 1M",
            "flush" })
        {
            Run.Program("qemu-io", "-f", "raw", "-c", command, uri);
        }

        var status = folder.Qcow2Blk("status", name, "--json");
        Assert.True(status.Status == 0, $"after damage{damage}: {status}");
        var detached = folder.Qcow2Blk("detach", name, "--force");
        Assert.True(detached.Status == 0, $"after damage{damage}: {detached}");
    }
}
