using System;
using System.IO;
using Qcow2Blk.Buffers;
using Qcow2Blk.Creation;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Creation;

/// <summary>New images with LUKS: their layout is qemu-img's, and qemu opens them with the key.</summary>
public sealed class EncryptedCreationTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    private string Disk => _directory.File("disk.qcow2");

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData("")]
    [InlineData(",compat=0.10")]
    [InlineData(",cluster_size=512")]
    [InlineData(",preallocation=metadata")]
    [InlineData(",encrypt.cipher-alg=aes-128,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,encrypt.ivgen-hash-alg=sha256")]
    [InlineData(",encrypt.hash-alg=sha512,encrypt.ivgen-alg=plain")]
    public void Layout_is_qemus_and_qemu_opens_it(string options)
    {
        var qemus = _directory.File("qemus.qcow2");
        QemuImg.CreateEncrypted(qemus, "luks", options);

        Create("encrypt.format=luks,encrypt.iter-time=10" + options, "abc");

        ImageBytes theirs = new(qemus), ours = new(Disk);
        Assert.Equal(theirs.Bytes.Length, ours.Bytes.Length);
        // The header of LUKS has random keys, and how often they are derived depends on the machine.
        var start = theirs.Header.Encryption!.Offset.Value;
        var end = start + theirs.Header.Encryption.Bytes;
        Assert.True(theirs.Bytes.AsSpan(0, (int)start).SequenceEqual(ours.Bytes.AsSpan(0, (int)start)));
        Assert.True(theirs.Bytes.AsSpan((int)end).SequenceEqual(ours.Bytes.AsSpan((int)end)));

        var key = _directory.File("key");
        File.WriteAllText(key, "abc");
        string[] check =
            ["check", "--object", $"secret,id=s,file={key}", "--image-opts", $"driver=qcow2,file.filename={Disk},encrypt.key-secret=s"];
        QemuImg.Run(check);
        File.WriteAllText(key, "abd");
        Assert.NotEqual(0, QemuImg.Try(check).ExitCode);
    }

    [Theory]
    [InlineData("encrypt.format=luks", null, "there is no key")]
    [InlineData("compat=1.1", "abc", "there is a key, and no encryption")]
    [InlineData("encrypt.cipher-alg=aes-256", null, "there is no encryption")]
    [InlineData("encrypt.format=aes", "abc", "encrypt.format=luks does")]
    [InlineData("encrypt.format=luks,encrypt.key-secret=s", "abc", "keys do not have names")]
    [InlineData("encrypt.format=luks,encrypt.cipher-alg=twofish", "abc", "aes-128 or aes-256")]
    [InlineData("encrypt.format=luks,encrypt.cipher-mode=ecb", "abc", "one of xts, cbc")]
    [InlineData("encrypt.format=luks,encrypt.hash-alg=md5", "abc", "it must be one of sha1")]
    [InlineData("encrypt.format=luks,encrypt.iter-time=0", "abc", "milliseconds")]
    [InlineData("encrypt.format=luks,encrypt.ivgen-hash-alg=sha256", "abc", "only essiv has a digest")]
    [InlineData("encrypt.format=luks,encrypt.ivgen-alg=essiv,encrypt.ivgen-hash-alg=sha1", "abc", "essiv needs sha256")]
    public void Refused_and_nothing_is_left(string options, string? key, string says)
    {
        var error = Assert.Throws<OutcomeException>(() => Create(options, key));

        Assert.Contains(says, error.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.EnumerateFileSystemEntries(_directory.Path));
    }

    private void Create(string options, string? key)
    {
        using var secret = key is null ? null : SecretMemory.CopyOf(System.Text.Encoding.UTF8.GetBytes(key));
        ImageCreation.Create(CreateOptionTable.SetAll(new CreateOptions { Image = Disk, Size = 1 << 20 }, options), secret);
    }
}
