using System;
using System.Globalization;
using System.IO;
using System.Linq;
using Qcow2Blk.Crypto;
using Qcow2Blk.Format;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Qcow2Blk.Tests.Support;
using Xunit;
using TempDirectory = Qcow2Blk.Tests.Shared.TempDirectory;

namespace Qcow2Blk.Tests.Crypto;

/// <summary>Encrypted images of qemu's are read as qemu reads them, and qemu reads what was written here.</summary>
public sealed class LuksImageTests
{
    private const string Cbc = "encrypt.cipher-mode=cbc,encrypt.ivgen-alg=";

    /// <summary>Each makes qemu-img compute for a second or two; LuksFormatTests have what cryptsetup makes in no time.</summary>
    public static TheoryData<string> Ciphers => new()
    {
        "encrypt.hash-alg=sha1",
        "encrypt.cipher-alg=aes-128,encrypt.cipher-mode=xts,encrypt.ivgen-alg=plain64,encrypt.hash-alg=sha256",
        "encrypt.cipher-alg=aes-256,encrypt.cipher-mode=xts,encrypt.ivgen-alg=plain,encrypt.hash-alg=sha512",
        "encrypt.cipher-alg=aes-128,encrypt.cipher-mode=xts,encrypt.ivgen-alg=essiv,encrypt.ivgen-hash-alg=sha256",
        $"encrypt.cipher-alg=aes-256,{Cbc}essiv,encrypt.ivgen-hash-alg=sha256,encrypt.hash-alg=sha384",
        $"encrypt.cipher-alg=aes-128,{Cbc}essiv,encrypt.ivgen-hash-alg=sha256,encrypt.hash-alg=sha224",
        $"encrypt.cipher-alg=aes-128,{Cbc}plain64",
        $"encrypt.cipher-alg=aes-256,{Cbc}plain",
    };

    [Theory]
    [MemberData(nameof(Ciphers))]
    public void Image_of_each_cipher_and_hash_is_read_and_written_as_by_qemu(string options)
    {
        using var directory = new TempDirectory();
        var path = directory.File("image.qcow2");
        LuksImage.Make(path, $"encrypt.format=luks,{options}", "4M", "write -P 0x5a 128k 64k");
        var host = HostOf(path, 2);
        var content = SparseBytes.FromFile(path);
        using (var loop = new SimulatedLoop(1))
        {
            using var data = CryptoScene.Open(loop, new MemoryStorage(loop, content));
            var read = CryptoScene.Filled(0, 65536);
            Assert.Equal(0, loop.RunUntilComplete(data.ReadAsync(host, read)));
            Assert.False(read.Span.ContainsAnyExcept((byte)0x5a));

            // Not a whole sector, and not at the start of one.
            var part = CryptoScene.Filled(0, 4096).Slice(7, 700);
            Assert.Equal(0, loop.RunUntilComplete(data.ReadAsync(host + 1111, part)));
            Assert.False(part.Span.ContainsAnyExcept((byte)0x5a));

            var written = CryptoScene.Filled(0x77, 4096);
            Assert.Equal(0, loop.RunUntilComplete(data.WriteAsync(host + 8192, written)));
            Assert.False(written.Span.ContainsAnyExcept((byte)0x77));
            Assert.Equal(0, loop.RunUntilComplete(data.ZeroAsync(host + 16384, 8192)));
        }

        content.Save(path);
        LuksImage.Io(
            path, "read -P 0x5a 128k 8k", "read -P 0x77 136k 4k", "read -P 0x5a 140k 4k", "read -P 0 144k 8k", "read -P 0x5a 152k 40k");
    }

    /// <summary>The vector is of the sector on the disk: cluster 5 comes first in the file.</summary>
    [Fact]
    public void Image_with_the_encryption_of_old_is_read()
    {
        using var directory = new TempDirectory();
        var path = directory.File("image.qcow2");
        LuksImage.Make(path, "encrypt.format=aes", "4M", "write -P 0x11 320k 64k", "write -P 0x22 0 64k");
        var content = SparseBytes.FromFile(path);
        using var loop = new SimulatedLoop(1);
        using var data = CryptoScene.Open(loop, new MemoryStorage(loop, content));
        Assert.True(data.ReadOnly);
        foreach (var (cluster, value) in ((int, byte)[])[(5, 0x11), (0, 0x22)])
        {
            var read = CryptoScene.Filled(0, 65536);
            Assert.Equal(0, loop.RunUntilComplete(data.ReadGuestAsync(HostOf(path, cluster), cluster * 65536L, read)));
            Assert.False(read.Span.ContainsAnyExcept(value));
            var part = CryptoScene.Filled(0, 4096).Slice(0, 1000);
            Assert.Equal(0, loop.RunUntilComplete(data.ReadGuestAsync(HostOf(path, cluster) + 700, (cluster * 65536L) + 700, part)));
            Assert.False(part.Span.ContainsAnyExcept(value));
        }
    }

    [Fact]
    public void Each_key_slot_is_tried_and_a_wrong_key_says_nothing_of_the_right_one()
    {
        using var directory = new TempDirectory();
        var path = directory.File("image.qcow2");
        LuksImage.Make(path, "encrypt.format=luks", "1M", "write -P 0x5a 0 64k");
        var other = directory.File("other");
        File.WriteAllText(other, "another one");
        Qemu.Img(
            "amend", "--object", $"secret,id=s,file={path}.key", "--object", $"secret,id=n,file={other}", "-o",
            "encrypt.state=active,encrypt.new-secret=n,encrypt.keyslot=7,encrypt.iter-time=10", "--image-opts",
            $"driver=qcow2,file.filename={path},encrypt.key-secret=s");
        var content = SparseBytes.FromFile(path);
        using var loop = new SimulatedLoop(1);
        foreach (var passphrase in (string[])[LuksImage.Passphrase, "another one"])
        {
            using var data = CryptoScene.Open(loop, new MemoryStorage(loop, content), passphrase);
            var read = CryptoScene.Filled(0, 65536);
            Assert.Equal(0, loop.RunUntilComplete(data.ReadAsync(HostOf(path, 0), read)));
            Assert.False(read.Span.ContainsAnyExcept((byte)0x5a));
        }

        foreach (var wrong in (string[])["", "open", "open sesame ", "open sesame\n", "Another one"])
        {
            var refused = Assert.Throws<ImageFormatException>(() => CryptoScene.Open(loop, new MemoryStorage(loop, content), wrong));
            Assert.Equal("memory.qcow2: the key given unlocks no key slot of the image", refused.Message);
        }
    }

    /// <summary>Clusters that were never written hold zeroes in the file, which decrypt to something: the same as in qemu.</summary>
    [Fact]
    public void What_was_never_written_reads_as_it_does_in_qemu()
    {
        using var directory = new TempDirectory();
        var path = directory.File("image.qcow2");
        LuksImage.Make(path, "encrypt.format=luks,preallocation=metadata", "4M");
        var content = SparseBytes.FromFile(path);
        using var loop = new SimulatedLoop(1);
        using var data = CryptoScene.Open(loop, new MemoryStorage(loop, content));
        foreach (var cluster in (int[])[0, 3, 63])
        {
            var read = CryptoScene.Filled(0, 512);
            Assert.Equal(0, loop.RunUntilComplete(data.ReadAsync(HostOf(path, cluster), read.Slice(0, 512))));
            var hex = string.Join(' ', read.Span[..16].ToArray().Select(value => value.ToString("x2", CultureInfo.InvariantCulture)));
            Assert.Contains(hex, LuksImage.Io(path, $"read -v {cluster * 65536} 512"), StringComparison.Ordinal);
        }

        Assert.False(data.FindRange(0).IsHole);
    }

    [Fact]
    public void What_a_disk_with_a_cipher_writes_past_a_helper_thread_is_what_it_reads()
    {
        using var directory = new TempDirectory();
        var path = directory.File("image.qcow2");
        LuksImage.Make(path, "encrypt.format=luks", "16M", "write -P 1 0 8M");
        var host = HostOf(path, 0);
        var content = SparseBytes.FromFile(path);
        using (var loop = new SimulatedLoop(3))
        {
            using var data = CryptoScene.Open(loop, new MemoryStorage(loop, content, alignment: 512));
            var written = CryptoScene.Filled(0, 3 << 20);
            new Random(5).NextBytes(written.Span);
            Assert.Equal(0, loop.RunUntilComplete(data.WriteAsync(host, written)));
            var read = CryptoScene.Filled(0, 3 << 20);
            Assert.Equal(0, loop.RunUntilComplete(data.ReadAsync(host, read)));
            Assert.True(read.Span.SequenceEqual(written.Span));
            var one = CryptoScene.Filled(0, 512);
            Assert.Equal(0, loop.RunUntilComplete(data.ReadAsync(host + (2 << 20) + 512, one.Slice(0, 512))));
            Assert.True(one.Span[..512].SequenceEqual(written.Span.Slice((2 << 20) + 512, 512)));
            File.WriteAllBytes(directory.File("plain"), written.Span.ToArray());
        }

        content.Save(path);
        LuksImage.Io(path, $"write -s {directory.File("plain")} 8M 3M");
        Assert.Contains(
            "identical", Qemu.Img(
                "compare", "--object", $"secret,id=s,file={path}.key", "--image-opts",
                $"driver=raw,offset=0,size={3 << 20},file.driver=qcow2,file.file.filename={path},file.encrypt.key-secret=s",
                $"driver=raw,file.filename={directory.File("plain")}"),
            StringComparison.Ordinal);
    }

    /// <summary>Where a cluster lies in the file.</summary>
    internal static long HostOf(string path, int cluster)
    {
        var bytes = new ImageBytes(path);
        var header = bytes.Header;
        return L2Entry.Decode(
            bytes.L2Entries(header.L1TableOffset, header.L1Size).Single(entry => entry.GuestCluster == cluster).Raw,
            new Geometry(header)).Host.Value;
    }
}
