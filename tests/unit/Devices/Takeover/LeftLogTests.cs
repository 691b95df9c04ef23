using System;
using System.IO;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Devices.Takeover;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Takeover;

/// <summary>What a dead server had answered and not committed is replayed, or given up by who says so, and never lost else.</summary>
public sealed class LeftLogTests : IDisposable
{
    private readonly StateFiles _files = new();
    private readonly DeviceRecord _dead;

    public LeftLogTests()
    {
        _files.NodeExists = _ => false;
        _dead = KilledDevice.Leave(_files, _files.Device("web")).Record;
    }

    public void Dispose() => _files.Dispose();

    private string Log => _files.Registry.Directory.LogOf("web");

    private AttachOptions Again => _dead.Options;

    private DeviceClaim Claim(AttachOptions options) =>
        _files.Registry.Claim(options, name => _dead with { Name = name, Image = options.Image, Options = options });

    private OutcomeException Refused(AttachOptions options)
    {
        var refusal = Assert.Throws<OutcomeException>(() => Claim(options).Dispose());
        Assert.Equal(OutcomeKind.Busy, refusal.Kind);
        Assert.True(RecoveryLog.HasRecords(Log), "the last writes are gone");
        return refusal;
    }

    /// <summary>Attaches with the real engine and without a kernel, and looks at the first 64 KiB.</summary>
    private (bool Holds5, bool Holds0) Serve(AttachOptions options)
    {
        using var scene = new EngineScene(_dead.Image) { RecoveryLog = Log };
        using var export = new FakeExport();
        using var device = scene.Open(export, options with { Cache = CacheMode.Writeback, Queues = 1 });
        var found = (scene.Holds(0, 65536, 5), scene.Holds(0, 65536, 0));
        Assert.True(device.Detach(force: false, EngineScene.Patience).Succeeded);
        return found;
    }

    [Fact]
    public void Attach_of_the_same_image_takes_the_name_and_replays_the_log()
    {
        using (var claim = Claim(Again))
            Assert.Equal("web", claim.Name);
        KilledDevice.Leave(_files, _dead);
        Assert.Equal((true, false), Serve(Again));
        Assert.Equal(Verdict.Clean, Qemu.Check(_dead.Image, out _));
    }

    [Fact]
    public void Attach_that_gives_the_log_up_serves_the_image_as_it_is()
    {
        Assert.Equal((false, true), Serve(Again with { DiscardLog = true }));
        Assert.False(RecoveryLog.HasRecords(Log));
        Assert.NotEqual(Verdict.Errors, Qemu.Check(_dead.Image, out _));
    }

    [Fact]
    public void Image_that_was_edited_since_is_not_attached_before_the_log_is_given_up()
    {
        Qemu.Io(_dead.Image, "write -P 9 1M 64k");
        var refusal = Assert.Throws<OutcomeException>(() => Serve(Again with { RecoverDevice = "/dev/nbd1048575" }));
        Assert.Contains("another program opened the image for writing", refusal.Why, StringComparison.Ordinal);
        Assert.Contains("--discard-log", refusal.Hint, StringComparison.Ordinal);
        Assert.Equal((false, true), Serve(Again with { RecoverDevice = "/dev/nbd1048575", DiscardLog = true }));
        Qemu.Io(_dead.Image, "read -P 9 1M 64k");
    }

    [Fact]
    public void Attach_that_would_not_replay_the_log_is_refused()
    {
        AttachOptions[] others = [Again with { ReadOnly = true }, Again with { SocketPath = "/s" }, Again with { Name = "other" }];
        foreach (var options in others)
            Assert.Contains($"not in {_dead.Image} yet", Refused(options).Why, StringComparison.Ordinal);
        var link = $"{_dead.Image}.link";
        File.CreateSymbolicLink(link, _dead.Image);
        Refused(Again with { Image = link, ReadOnly = true });
    }

    [Fact]
    public void Attach_of_another_image_does_not_get_the_name_with_the_log()
    {
        var refusal = Refused(new AttachOptions { Image = _files.Device("other").Image, Name = "web" });
        Assert.Contains("qcow2blk detach web", refusal.Hint, StringComparison.Ordinal);
    }

    [Fact]
    public void Attach_that_fails_leaves_the_log_to_the_next()
    {
        var factory = new FakeFactory((_, _) => throw new IOException("the storage does not answer"));
        Assert.Throws<IOException>(() => DeviceServer.Start(Again, factory, _files.Registry, new NoLog()));
        Assert.True(RecoveryLog.HasRecords(Log), "the last writes are gone");
        Assert.False(_files.Registry.Find("web")!.Alive);
        Assert.Equal((true, false), Serve(Again));
    }

    [Fact]
    public void Giving_up_is_said_for_one_attach_and_never_kept()
    {
        var discards = Again with { DiscardLog = true };
        Assert.False(Recovery.OptionsFor(_dead with { Options = discards }).DiscardLog);
        var factory = new FakeFactory((_, name) => new FakeDevice(name, _dead.Image));
        using var server = DeviceServer.Start(discards, factory, _files.Registry, new NoLog());
        Assert.False(server.Record.Options.DiscardLog);
    }
}
