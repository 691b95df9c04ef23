using System;
using System.IO;
using System.Linq;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Logging;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Server;

/// <summary>Servers where no directory for state file and control socket can be made.</summary>
public sealed class NoRuntimeDirectoryTests : IDisposable
{
    private readonly TempDirectory _folder = new();
    private readonly ListLog _log = new();
    private readonly DeviceRegistry _registry;
    private string? _recoveryLog = "none was asked for";

    public NoRuntimeDirectoryTests() => _registry = new DeviceRegistry(RuntimeDirectory.At(_folder.File("missing/run")));

    public void Dispose() => _folder.Dispose();

    private static readonly AttachOptions s_foreground = new()
    {
        Image = "/data/disk.qcow2",
        SocketPath = "/run/x.sock",
        Foreground = true
    };

    private DeviceServer Start(AttachOptions options, FakeDevice? device = null) =>
        DeviceServer.Start(options, new Factory(this, device ?? new FakeDevice("disk", options.Image)), _registry, _log);

    [Fact]
    public void Server_in_the_foreground_does_without_and_says_so()
    {
        var pidFile = _folder.File("pid");
        var device = new FakeDevice("disk", "/data/disk.qcow2");
        using (var server = Start(s_foreground with { PidFile = pidFile }, device))
        {
            Assert.Equal("disk", server.Record.Name);
            var line = _log.Lines[0];
            Assert.Contains("missing/run: no such file", line, StringComparison.Ordinal);
            Assert.Contains("will not find this device", line, StringComparison.Ordinal);
            Assert.True(File.Exists(pidFile));
            Assert.Empty(_registry.List());
            server.RequestEnd();
            server.WaitForEnd();
            Assert.True(server.Finish().Succeeded);
        }

        Assert.Equal((DeviceState.Detaching, 1), (device.State, device.Disposed));
        Assert.Empty(Directory.GetFileSystemEntries(_folder.Path));
    }

    [Theory]
    [InlineData(true, false, LogLevel.Warning)]
    [InlineData(false, false, LogLevel.Info)]
    [InlineData(false, true, LogLevel.Warning)]
    public void What_is_missing_is_a_warning_where_somebody_may_look_for_the_device(bool foreground, bool isBlockDevice, LogLevel level)
    {
        var options = s_foreground with
        {
            Foreground = foreground,
            RunCommand = foreground ? null : "true",
            SocketPath = isBlockDevice ? null : "/s"
        };
        var log = new LevelLog();
        DeviceServer.Start(options, new Factory(this, new FakeDevice("disk", options.Image)), _registry, log).Dispose();
        Assert.Equal(level, log.First);
    }

    [Fact]
    public void Block_device_has_no_recovery_log_and_its_user_is_told_what_that_means()
    {
        using var server = Start(s_foreground with { SocketPath = null });
        Assert.Null(_recoveryLog);
        Assert.Contains("what was not flushed is lost", _log.Lines[0], StringComparison.Ordinal);
    }

    [Fact]
    public void Signal_ends_a_block_device_in_use_that_no_server_could_find()
    {
        // Left as it is, its requests would wait for ever.
        var device = new FakeDevice("disk", "/data/disk.qcow2")
        {
            DevicePath = "/dev/ublkb5",
            RefuseDetach = Outcome.Refused(OutcomeKind.Busy, "cannot detach disk", "/dev/ublkb5 is mounted on /mnt"),
            OnHandOver = () => throw new InvalidOperationException("handed over to nobody"),
            ForcedNote = "what the kernel had cached is lost",
        };
        using var server = Start(s_foreground with { SocketPath = null }, device);
        var result = server.Finish();
        Assert.Equal(DeviceState.Detaching, device.State);
        Assert.Equal((OutcomeKind.Busy, "/dev/ublkb5 is mounted on /mnt"), (result.Kind, result.Why));
        Assert.False(server.HandedOver);
        Assert.Equal("detached disk: what the kernel had cached is lost", _log.Lines[^1]);
    }

    [Fact]
    public void Server_in_the_background_is_refused()
    {
        var error = Assert.Throws<OutcomeException>(() => Start(s_foreground with { Foreground = false }));
        Assert.Contains("missing/run", error.What, StringComparison.Ordinal);
    }

    [Fact]
    public void Directory_that_is_not_ours_alone_is_not_used_in_the_foreground_either()
    {
        var run = _folder.Path;
        var registry = new DeviceRegistry(RuntimeDirectory.InShared(Path.Combine(run, "qcow2blk-1000")));
        File.CreateSymbolicLink(registry.Directory.Path, run);
        using var server = DeviceServer.Start(s_foreground, new Factory(this, new FakeDevice("disk", "/data/disk.qcow2")),
            registry, _log);
        Assert.Contains(_log.Lines, line => line.Contains("symbolic link", StringComparison.Ordinal));
        Assert.Equal(["qcow2blk-1000"], Directory.GetFileSystemEntries(run).Select(Path.GetFileName));
    }

    [Fact]
    public void Taken_name_is_refused_in_the_foreground()
    {
        var registry = new DeviceRegistry(RuntimeDirectory.At(_folder.File("run")));
        var options = s_foreground with { Name = "web" };
        using var first = DeviceServer.Start(options, new FakeFactory(), registry, _log);
        var error = Assert.Throws<OutcomeException>(() => DeviceServer.Start(options, new FakeFactory(), registry, _log));
        Assert.Equal(OutcomeKind.Busy, error.Kind);
    }

    private sealed class Factory(NoRuntimeDirectoryTests test, FakeDevice device) : IDeviceFactory
    {
        public IDevice Open(AttachOptions options, string name, string? recoveryLog, ILog log)
        {
            test._recoveryLog = recoveryLog;
            return device;
        }
    }

    private sealed class LevelLog : ILog
    {
        internal LogLevel? First { get; private set; }

        public LogLevel Level => LogLevel.Debug;

        public void Write(LogLevel level, string message) => First ??= level;
    }
}
