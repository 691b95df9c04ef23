using System;
using System.Linq;
using Qcow2Blk.Remote;
using Qcow2Blk.Tests.Exports.Nbd;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Nbd;

/// <summary>The client beside nbdkit, qemu-nbd and our own server's protocol code.</summary>
public sealed class RealServerTests
{
    private static readonly (long Offset, int Length)[] s_ranges =
    [
        (0, 512), (0, 262144), (1 << 20, 262144), ((1 << 20) - 100, 300), ((2 << 20) - 7, 4097), (RealServer.Size - 512, 512),
        (3 << 20, 1 << 20), (0, RealServer.Size), (RealServer.Size - 1, 1),
    ];

    [Theory]
    [InlineData("")]
    [InlineData("--no-sr")]
    [InlineData("--filter=delay rdelay=20ms")]
    [InlineData("--filter=blocksize-policy blocksize-minimum=512 blocksize-preferred=4096 blocksize-maximum=64K"
        + " blocksize-error-policy=error")]
    public void Nbdkit_serves_what_the_file_holds(string more)
    {
        using var server = RealServer.Nbdkit([.. more.Split(' ', StringSplitOptions.RemoveEmptyEntries).Where(IsFlag), "file", "DISK",
            .. more.Split(' ', StringSplitOptions.RemoveEmptyEntries).Where(argument => !IsFlag(argument))]);
        using var scene = new SourceScene(server.Url(""));

        ReadAll(scene);
    }

    [Fact]
    public void Nbdkit_over_tcp_gets_several_connections()
    {
        using var server = RealServer.NbdkitTcp("file", "DISK");
        using var scene = new SourceScene($"nbd://localhost:{server.Port}/");

        for (var round = 0; round < 10; round++)
            ReadAll(scene);

        Assert.InRange(scene.Source.Connections, 2, 4);
    }

    [Fact]
    public void Qemu_nbd_serves_what_the_file_holds_holes_too()
    {
        using var server = RealServer.QemuNbd("--export-name=disk", "--shared=8");
        using var scene = new SourceScene(server.Url("disk"));

        ReadAll(scene);
    }

    [Fact]
    public void Server_that_is_started_again_serves_on()
    {
        using var server = RealServer.QemuNbd("--export-name=disk");
        using var scene = new SourceScene(server.Url("disk"));
        ReadAll(scene);

        server.Stop();
        var (lost, _) = scene.Read(0, 4096);
        server.Start();

        Assert.Equal(FetchStatus.Unavailable, lost.Status);
        ReadAll(scene);
    }

    [Fact]
    public void Nbdkit_that_fails_some_reads_fails_only_those()
    {
        using var server = RealServer.Nbdkit("--filter=error", "file", "DISK", "error-pread=EIO", "error-pread-rate=50%");
        using var scene = new SourceScene(server.Url(""));

        var results = Enumerable.Range(0, 60).Select(i => (At: i * 4096, Read: scene.Read(i * 4096, 4096))).ToList();

        Assert.Contains(results, result => result.Read.Result.IsDone);
        Assert.Contains(results, result => result.Read.Result.Why?.Contains("input/output error", StringComparison.Ordinal) == true);
        Assert.All(results.Where(result => result.Read.Result.IsDone),
            result => Assert.Equal(RealServer.Expected(result.At, 4096), result.Read.Bytes));
    }

    [Fact]
    public void Nbdkit_in_the_oldstyle_is_refused()
    {
        using var server = RealServer.Nbdkit("--oldstyle", "file", "DISK");
        using var scene = new SourceScene(server.Url(""));

        var result = scene.Open();

        Assert.Equal(FetchStatus.Unfit, result.Status);
        Assert.Contains("oldstyle", result.Why, StringComparison.Ordinal);
    }

    [Fact]
    public void Export_that_is_not_there_is_missing()
    {
        using var server = RealServer.QemuNbd("--export-name=disk");
        using var scene = new SourceScene(server.Url("other"));

        Assert.Equal(FetchStatus.Missing, scene.Open().Status);
    }

    [Fact]
    public void Our_own_server_serves_us()
    {
        using var server = new PeerServer(receiveLimit: 65536, Catalog.Disk);
        using var scene = new SourceScene($"nbd+unix:///{Catalog.Disk.Name}?socket={server.SocketPath}");

        var (result, bytes) = scene.Read(0, 3 << 20);

        // The server says that the bad sector is in a hole, and it is not read, where nothing else says what it is.
        using var pinned = new SourceScene(scene.Source.Name, new RemoteSettings { Root = new string('a', 64) });
        var (bad, _) = pinned.Read(PeerServer.BadSector, 512);

        Assert.True(result.IsDone, result.Why);
        Assert.Equal(server.Disk[..(3 << 20)], bytes);
        Assert.Contains(PeerServer.BadSectorText, bad.Why, StringComparison.Ordinal);
        Assert.Equal(new SourceIdentity(PeerServer.Size, null), scene.Source.Identity);
    }

    private static bool IsFlag(string argument) => argument.StartsWith('-');

    private static void ReadAll(SourceScene scene)
    {
        var results = scene.ReadTogether(s_ranges);
        for (var i = 0; i < results.Length; i++)
        {
            Assert.True(results[i].Result.IsDone, results[i].Result.Why);
            Assert.Equal(RealServer.Expected((int)s_ranges[i].Offset, s_ranges[i].Length), results[i].Bytes);
        }
    }
}
