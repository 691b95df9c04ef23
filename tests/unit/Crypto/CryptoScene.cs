using System;
using System.IO;
using System.Text;
using Qcow2Blk.Buffers;
using Qcow2Blk.Crypto;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;

namespace Qcow2Blk.Tests.Crypto;

/// <summary>Encrypted images of qemu's making, and what opens them.</summary>
internal static class CryptoScene
{
    public const string Passphrase = "open sesame";

    public static SecretMemory Key(string passphrase = Passphrase) => SecretMemory.CopyOf(Encoding.UTF8.GetBytes(passphrase));

    /// <summary>Makes an image with qemu-img, with few rounds of PBKDF2, and writes to it with qemu-io.</summary>
    public static void Make(string path, string options, string size, params string[] commands)
    {
        var key = KeyFile(path);
        var quick = options.Contains("=luks", StringComparison.Ordinal) ? ",encrypt.iter-time=10" : "";
        string[] arguments =
            ["create", "-q", "-f", "qcow2", "--object", $"secret,id=s,file={key}", "-o", $"encrypt.key-secret=s,{options}{quick}", path, size];

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
        var arguments = new System.Collections.Generic.List<string>
        {
            "--object", $"secret,id=s,file={KeyFile(path)}", "--image-opts", $"driver=qcow2,file.filename={path},encrypt.key-secret=s",
        };
        foreach (var command in commands)
            arguments.AddRange(["-c", command]);
        var (exit, output, errors) = Qemu.Run("qemu-io", [.. arguments]);
        var failed = exit != 0 || output.Contains("failed", StringComparison.Ordinal) || errors.Length > 0;
        return failed ? throw new InvalidOperationException($"qemu-io {string.Join("; ", commands)}: {errors}{output}") : output;
    }

    public static Header HeaderOf(SparseBytes content)
    {
        var start = new byte[(int)Math.Min(content.Length, Header.MaxParseBytes)];
        content.Read(0, start);
        return Header.Parse(start, "memory.qcow2");
    }

    public static string KeyFile(string path)
    {
        var key = path + ".key";
        File.WriteAllText(key, Passphrase);
        return key;
    }

    /// <summary>Opens the guest data of an image in memory.</summary>
    public static EncryptedStorage Open(SimulatedLoop loop, MemoryStorage storage, string passphrase = Passphrase)
    {
        using var key = Key(passphrase);
        return loop.RunUntilComplete(DiskKey.OpenAsync(storage, storage, HeaderOf(storage.Content), [key]));
    }

    /// <summary>A buffer of the loop, which a test need not return.</summary>
    public static NativeBuffer Filled(byte value, int length)
    {
        var buffer = LoopScheduler.Current.Buffers.Rent(length);
        buffer.Span.Fill(value);
        return buffer;
    }
}
