using System;
using System.IO;
using System.Threading;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Server;

/// <summary>A server that dies as it starts, with a shell in its place: its starter says how, and nothing is left of it.</summary>
public sealed class DyingServerTests : IDisposable
{
    private readonly StateFiles _files = new();

    public void Dispose() => _files.Dispose();

    [Theory]
    [InlineData("kill -SEGV $$", "the server was killed by signal 11 (SEGV) before it was ready", "see the system log")]
    [InlineData("kill -ABRT $$", "the server was killed by signal 6 (ABRT) before it was ready", "see the system log")]
    [InlineData("kill -KILL $$", "the server was killed by signal 9 (KILL) before it was ready",
        "the kernel does that when memory runs out: see \"dmesg\"")]
    [InlineData("exit 3", "the server ended with status 3 before it was ready", "see the system log")]
    public void Name_that_it_had_claimed_is_not_listed_and_its_end_is_told(string end, string why, string hint)
    {
        foreach (var socket in (string?[])["/s", null])
        {
            var error = Start(_files.Device("web") with { DevicePath = null }, end, socket);
            Assert.Equal((OutcomeKind.Failed, why, hint), (error.Kind, error.Why, error.Hint));
            Assert.Empty(Directory.GetFileSystemEntries(_files.Registry.Directory.Path));
        }
    }

    [Fact]
    public void Device_that_it_was_to_recover_stays()
    {
        var lost = _files.Device("web");
        Start(lost, "kill -SEGV $$", null);
        Assert.Equal(lost.DevicePath, Assert.Single(_files.Registry.List()).Record.DevicePath);
    }

    /// <summary>Starts a server that registers itself and ends.</summary>
    private OutcomeException Start(DeviceRecord registers, string end, string? socket)
    {
        var draft = Path.Combine(Path.GetDirectoryName(registers.Image)!, "draft");
        File.WriteAllBytes(draft, registers.ToJson());
        var script = $"mv '{draft}' '{_files.Registry.Directory.StateFileOf(registers.Name)}'; {end}";
        var options = registers.Options with { SocketPath = socket };
        return Assert.Throws<OutcomeException>(() => BackgroundServer.Start(options, new ServerProgram("/bin/sh", ["-c", script]),
            Timeout.InfiniteTimeSpan, registry: _files.Registry));
    }
}
