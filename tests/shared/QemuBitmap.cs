using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Text.Json;
using System.Threading;

namespace Qcow2Blk.Tests.Shared;

/// <summary>What qemu says of a persistent bitmap.</summary>
internal static class QemuBitmap
{
    /// <summary>The dirty ranges of the disk, as qemu-nbd tells them.</summary>
    public static IReadOnlyList<(long Start, long Length)> Dirty(string image, string name)
    {
        using var directory = new TempDirectory();
        var socket = directory.File("nbd");
        using var server = Process.Start(new ProcessStartInfo("qemu-nbd", ["-r", "-f", "qcow2", "-B", name, "-k", socket, image])
        {
            RedirectStandardError = true,
        })!;
        try
        {
            for (var attempt = 0; !File.Exists(socket) && attempt < 1000; attempt++)
            {
                if (server.HasExited)
                    throw new InvalidOperationException($"qemu-nbd -B {name}: {server.StandardError.ReadToEnd()}");
                Thread.Sleep(10);
            }

            return DirtyOf(socket, "", name);
        }
        finally
        {
            server.Kill();
            server.WaitForExit();
        }
    }

    /// <summary>The dirty ranges that an NBD server tells.</summary>
    public static IReadOnlyList<(long Start, long Length)> DirtyOf(string socket, string export, string name)
    {
        // qemu-img shows what is dirty as a hole: both are bit 0.
        var map = Qemu.Img("map", "--output=json", "--image-opts",
            $"driver=nbd,server.type=unix,server.path={socket},export={export},x-dirty-bitmap=qemu:dirty-bitmap:{name}");
        using var json = JsonDocument.Parse(map);
        var dirty = new List<(long, long)>();
        foreach (var extent in json.RootElement.EnumerateArray())
        {
            if (!extent.GetProperty("data").GetBoolean())
                dirty.Add((extent.GetProperty("start").GetInt64(), extent.GetProperty("length").GetInt64()));
        }

        return dirty;
    }
}
