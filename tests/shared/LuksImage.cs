using System;
using System.Collections.Generic;
using System.IO;
using System.Text;
using Qcow2Blk.Buffers;
using Qcow2Blk.Crypto;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;
using Qcow2Blk.Tests.Shared.Simulation;

namespace Qcow2Blk.Tests.Shared;

/// <summary>Encrypted images of qemu's making, and what opens them.</summary>
internal static class LuksImage
{
    public const string Passphrase = "open sesame";

    /// <summary>Makes an image with qemu-img, with few rounds of PBKDF2, and writes to it with qemu-io.</summary>
    public static void Make(string path, string options, string size, params string[] commands) => Make(path, options, [size], commands);

    /// <summary>As the other, with more arguments of qemu-img: the backing file.</summary>
    public static void Make(string path, string options, string[] rest, params string[] commands)
    {
        var key = KeyFile(path);
        var quick = options.Contains("=luks", StringComparison.Ordinal) ? ",encrypt.iter-time=10" : "";
        string[] arguments =
        [
            "create", "-q", "-f", "qcow2", "--object", $"secret,id=s,file={key}", "-o", $"encrypt.key-secret=s,{options}{quick}", path,
            .. rest,
        ];

        // It measures the processor's time in milliseconds, and gives up if it was too fast for that.
        var result = Qemu.Run("qemu-img", arguments);
        for (var tries = 1; result.Errors.Contains("accurate CPU usage", StringComparison.Ordinal) && tries < 20; tries++)
            result = Qemu.Run("qemu-img", arguments);
        if (result.Exit != 0)
            throw new InvalidOperationException($"qemu-img {string.Join(' ', arguments)}: {result.Errors}");
        if (commands.Length > 0)
            Io(path, commands);
    }

    /// <summary>Runs qemu-io commands on an encrypted image.</summary>
    public static string Io(string path, params string[] commands)
    {
        var arguments = new List<string>(Opened(path));
        foreach (var command in commands)
            arguments.AddRange(["-c", command]);
        var (exit, output, errors) = Qemu.Run("qemu-io", [.. arguments]);
        var failed = exit != 0 || output.Contains("failed", StringComparison.Ordinal) || errors.Length > 0;
        return failed ? throw new InvalidOperationException($"qemu-io {string.Join("; ", commands)}: {errors}{output}") : output;
    }

    /// <summary>The arguments by which qemu's programs open an encrypted image.</summary>
    public static string[] Opened(string path) =>
        ["--object", $"secret,id=s,file={KeyFile(path)}", "--image-opts", $"driver=qcow2,file.filename={path},encrypt.key-secret=s"];

    public static string KeyFile(string path)
    {
        var key = path + ".key";
        File.WriteAllText(key, Passphrase);
        return key;
    }

    public static SecretMemory Key(string passphrase = Passphrase) => SecretMemory.CopyOf(Encoding.UTF8.GetBytes(passphrase));

    public static Header HeaderOf(IImageBytes content)
    {
        var start = new byte[(int)Math.Min(content.Length, Header.MaxParseBytes)];
        content.Read(0, start);
        return Header.Parse(start, "memory.qcow2");
    }

    /// <summary>The guest data of an image in memory; null if it is not encrypted.</summary>
    public static async LoopTask<IBlockStorage?> OpenAsync(MemoryStorage storage, string passphrase = Passphrase)
    {
        var header = HeaderOf(storage.Content);
        if (header.CryptMethod == 0)
            return null;
        using var key = Key(passphrase);
        return await DiskKey.OpenAsync(storage, storage, header, [key]);
    }

    /// <summary>What decrypts the bytes of a file, apart from any storage.</summary>
    public static SectorCipher Cipher(SparseBytes content)
    {
        var pointer = HeaderOf(content).Encryption!;
        using var material = new SecretMemory((int)pointer.Bytes);
        content.Read(pointer.Offset.Value, material.Span);
        var luks = LuksHeader.Parse(material.Span, pointer.Bytes, "memory.qcow2");
        using var passphrase = Key();
        var unlock = new LuksUnlock(luks, material.Buffer, passphrase);
        if (unlock.Execute() != 0)
            throw new InvalidOperationException("the image has another passphrase");
        using var key = unlock.Key!;
        return new SectorCipher(luks.Cipher, key.Span);
    }
}

/// <summary>The bytes of a file as they are once they are decrypted.</summary>
internal sealed class DecryptedBytes(IImageBytes inner, SectorCipher cipher) : IImageBytes
{
    private const int Sector = 512;

    public long Length => inner.Length;

    public void Read(long offset, Span<byte> into)
    {
        var start = offset / Sector * Sector;
        var sectors = (int)((offset + into.Length - start + Sector - 1) / Sector);
        using var memory = new SecretMemory(sectors * Sector);
        inner.Read(start, memory.Span);
        if (cipher.Decrypt(start / Sector, memory.Buffer, memory.Buffer) != 0)
            throw new InvalidOperationException("cannot decrypt");
        memory.Span.Slice((int)(offset - start), into.Length).CopyTo(into);
    }
}
