using System;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Text.Json;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Protocol;
using Xunit;

namespace Qcow2Blk.Tests.Exports.Nbd;

/// <summary>What qemu's own client understands of our handshake and replies.</summary>
public sealed class QemuImgTests
{
    private static readonly ExportInfo s_disk = Catalog.Disk with { Size = PeerServer.Size };

    [Fact]
    public void Qemu_img_maps_data_and_zeroes()
    {
        using var server = new PeerServer(65536, s_disk);

        using var map = JsonDocument.Parse(Run("map", "--output=json", Uri(server)));

        var pieces = map.RootElement.EnumerateArray().Select(piece => (
            piece.GetProperty("start").GetInt32(), piece.GetProperty("length").GetInt32(), piece.GetProperty("zero").GetBoolean()));
        var expected = PeerServer.Pieces.Select(piece => (piece.Start, piece.Length, (piece.State & AllocationState.Zero) != 0)).ToList();
        Assert.Equal(expected, pieces);
    }

    [Fact]
    public void Qemu_img_copies_the_disk_out_and_in()
    {
        using var server = new PeerServer(65536, s_disk);
        var directory = Directory.CreateTempSubdirectory("nbd-copy-");
        var copy = Path.Combine(directory.FullName, "copy.raw");

        Run("convert", "-f", "raw", "-O", "raw", Uri(server), copy);
        Assert.True(server.Disk.AsSpan().SequenceEqual(File.ReadAllBytes(copy)));

        var before = (byte[])server.Disk.Clone();
        Array.Fill(server.Disk, (byte)0x55, 4096, 4096);
        Run("convert", "-n", "-f", "raw", "-O", "raw", copy, Uri(server));
        Assert.True(server.Disk.AsSpan().SequenceEqual(before));
        directory.Delete(recursive: true);
    }

    private static string Uri(PeerServer server) => $"nbd+unix:///disk?socket={server.SocketPath}";

    private static string Run(params string[] arguments)
    {
        Assert.SkipUnless(File.Exists("/usr/bin/qemu-img"), "no qemu-img (Debian: qemu-utils)");
        using var process = Process.Start(new ProcessStartInfo("qemu-img", arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        var errors = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, errors.Result);
        return output;
    }
}
