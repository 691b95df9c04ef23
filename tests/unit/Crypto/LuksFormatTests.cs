using System;
using System.Diagnostics;
using System.IO;
using Qcow2Blk.Buffers;
using Qcow2Blk.Crypto;
using Qcow2Blk.Format;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Crypto;

/// <summary>Headers that are made here are opened by cryptsetup and qemu, and theirs are opened here.</summary>
public sealed class LuksFormatTests
{
    private const int PayloadBytes = 1 << 20;

    public static TheoryData<string, int, string> Ciphers => new()
    {
        { "xts-plain64", 64, "sha256" },
        { "xts-plain64", 32, "sha1" },
        { "xts-plain", 64, "sha384" },
        { "cbc-essiv:sha256", 32, "sha512" },
        { "cbc-essiv:sha256", 16, "sha224" },
        { "cbc-plain64", 32, "sha256" },
        { "cbc-plain64", 16, "sha512" },
    };

    [Theory]
    [MemberData(nameof(Ciphers))]
    public void New_header_is_opened_by_others(string mode, int keyBytes, string hash)
    {
        using var directory = new TempDirectory();
        var options = new LuksFormatOptions { Cipher = Cipher(mode, keyBytes), Hash = LuksHashes.Words.Parse(hash), IterationTime = 10 };
        using var passphrase = LuksImage.Key();
        var header = LuksFormat.Make(options, passphrase);
        Assert.Equal(LuksFormat.LengthOf(options.Cipher), header.Length);
        var path = directory.File("luks");
        File.WriteAllBytes(path, header);
        using (var file = File.OpenWrite(path))
            file.SetLength(header.Length + PayloadBytes);
        var key = LuksImage.KeyFile(path);

        var (exit, output, errors) = Qemu.Run("cryptsetup", "open", "--test-passphrase", "--key-file", key, path);
        Assert.True(exit == 0, output + errors);
        var (shown, dump, _) = Qemu.Run("cryptsetup", "luksDump", path);
        Assert.Equal(0, shown);
        Assert.Contains($"Cipher mode:   \t{mode}", dump, StringComparison.Ordinal);
        Assert.Contains($"Hash spec:     \t{hash}", dump, StringComparison.Ordinal);
        Assert.Contains($"MK bits:       \t{keyBytes * 8}", dump, StringComparison.Ordinal);
        Assert.Contains("Key Slot 7: DISABLED", dump, StringComparison.Ordinal);

        (exit, output, errors) = Qemu.Run(
            "qemu-io", "--object", $"secret,id=s,file={key}", "--image-opts", $"driver=luks,file.filename={path},key-secret=s", "-c",
            "write -P 1 0 64k");
        Assert.True(exit == 0 && errors.Length == 0, output + errors);
        Assert.Equal(0, Unlock(File.ReadAllBytes(path), LuksImage.Passphrase));
        Assert.Equal(LuksUnlock.WrongPassphrase, Unlock(header, "other"));
    }

    [Theory]
    [MemberData(nameof(Ciphers))]
    public void Header_of_cryptsetup_is_opened(string mode, int keyBytes, string hash)
    {
        using var directory = new TempDirectory();
        var path = directory.File("luks");
        File.WriteAllBytes(path, new byte[4 << 20]);
        var key = LuksImage.KeyFile(path);
        string[] make =
        [
            "-q", "luksFormat", "--type", "luks1", "--pbkdf-force-iterations", "1000", "--key-file", key, "-c", $"aes-{mode}", "-s",
            $"{keyBytes * 8}", "-h", hash, path,
        ];
        var made = Qemu.Run("cryptsetup", make);
        Assert.True(made.Exit == 0, made.Errors);
        File.WriteAllText(key + "2", "second");
        var added = Qemu.Run("cryptsetup", "-q", "luksAddKey", "--pbkdf-force-iterations", "1000", "--key-file", key, path, key + "2");
        Assert.True(added.Exit == 0, added.Errors);
        var bytes = File.ReadAllBytes(path);
        Assert.Equal(0, Unlock(bytes, LuksImage.Passphrase));
        Assert.Equal(0, Unlock(bytes, "second"));
        Assert.Equal(LuksUnlock.WrongPassphrase, Unlock(bytes, "third"));

        // Without its first slot only the second passphrase is left.
        var removed = Qemu.Run("cryptsetup", "-q", "luksKillSlot", "--key-file", key + "2", path, "0");
        Assert.True(removed.Exit == 0, removed.Errors);
        Assert.Equal(LuksUnlock.WrongPassphrase, Unlock(File.ReadAllBytes(path), LuksImage.Passphrase));
        Assert.Equal(0, Unlock(File.ReadAllBytes(path), "second"));
    }

    [Fact]
    public void One_damaged_byte_of_key_material_locks_its_slot()
    {
        using var passphrase = LuksImage.Key();
        var header = LuksFormat.Make(new LuksFormatOptions { IterationTime = 1 }, passphrase);
        Assert.Equal(0, Unlock(header, LuksImage.Passphrase));
        foreach (var at in (int[])[112, 132, 216, 4096, 4096 + 255_999])
        {
            var damaged = (byte[])header.Clone();
            damaged[at] ^= 1;
            Assert.Equal(LuksUnlock.WrongPassphrase, Unlock(damaged, LuksImage.Passphrase));
        }
    }

    [Fact]
    public void Two_headers_have_nothing_in_common()
    {
        using var passphrase = LuksImage.Key();
        var options = new LuksFormatOptions { IterationTime = 1 };
        var (one, other) = (LuksFormat.Make(options, passphrase), LuksFormat.Make(options, passphrase));
        foreach (var (at, length) in ((int, int)[])[(112, 20), (132, 32), (168, 36), (216, 32), (4096, 256_000)])
            Assert.False(one.AsSpan(at, length).SequenceEqual(other.AsSpan(at, length)));
    }

    /// <summary>Within a factor of four: the machine that runs tests has other things to do.</summary>
    [Fact]
    public void Passphrase_takes_about_as_long_as_was_asked_for()
    {
        using var passphrase = LuksImage.Key();
        var header = LuksFormat.Make(new LuksFormatOptions { IterationTime = 400 }, passphrase);
        var slot = LuksHeader.Parse(header, header.Length, "header").Slots[0];
        var key = new byte[64];
        var start = Stopwatch.GetTimestamp();
        Digests.DeriveKey(LuksHash.Sha256, passphrase.Span, slot.Salt, slot.Iterations, key);
        Assert.InRange(Stopwatch.GetElapsedTime(start).TotalMilliseconds, 100, 1600);
    }

    private static LuksCipher Cipher(string mode, int keyBytes)
    {
        Assert.Null(LuksCipher.Parse("aes", mode, (uint)keyBytes, out var cipher));
        return cipher;
    }

    private static int Unlock(byte[] header, string passphrase)
    {
        using var key = LuksImage.Key(passphrase);
        using var material = SecretMemory.CopyOf(header);
        var unlock = new LuksUnlock(LuksHeader.Parse(header, header.Length, "header"), material.Buffer, key);
        var result = unlock.Execute();
        Assert.Equal(result == 0, unlock.Key is not null);
        unlock.Key?.Dispose();
        return result;
    }
}
