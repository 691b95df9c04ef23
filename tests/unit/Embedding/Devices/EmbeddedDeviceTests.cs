using System;
using System.IO;
using System.Linq;
using System.Text.Json;
using System.Threading;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Embedding.Devices;
using Qcow2Blk.Interop;
using Qcow2Blk.Tests.Devices;
using Qcow2Blk.Tests.Exports;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Embedding.Devices;

/// <summary>A device that this process serves is a device like any other, and leaves nothing behind.</summary>
public sealed class EmbeddedDeviceTests : IDisposable
{
    private readonly EmbeddedScene _scene = new();

    public void Dispose() => _scene.Dispose();

    private static int Threads() => Directory.GetDirectories("/proc/self/task").Length;

    private static int Descriptors() => Directory.GetFiles("/proc/self/fd").Length;

    [Fact]
    public void Attached_image_is_served_listed_and_told_by_its_status()
    {
        var device = _scene.Attach();
        var entry = Assert.Single(_scene.Registry.List());
        Assert.Equal((true, true, Environment.ProcessId, "disk"), (entry.Alive, entry.Record.IsGuest, entry.Record.Pid, device.Name));
        Assert.Equal((entry.Record.Uri, null), (device.Uri, device.DevicePath));
        Assert.Equal(EmbeddedState.Running, device.State());
        using var status = JsonDocument.Parse(device.Status());
        Assert.Equal(16 << 20, status.RootElement.GetProperty("geometry").GetProperty("size").GetInt32());
        using (var client = new NbdClient(_scene.Options.SocketPath!, extended: false))
            Assert.Equal(0u, client.Do(NbdClient.Write, 0, 512, payload: new byte[512]));

        Assert.Equal(Outcome.Done(), device.Close());

        Assert.Empty(Directory.GetFileSystemEntries(_scene.Registry.Directory.Path));
        Assert.False(File.Exists(_scene.Options.SocketPath));
        Assert.Equal(Verdict.Clean, Qemu.Check(_scene.Image, out _));
    }

    [Fact]
    public void Image_can_be_edited_while_its_device_is_suspended_by_the_handle()
    {
        var device = _scene.Attach();
        Assert.Equal(Outcome.Done(), device.Suspend(EmbeddedScene.Patience));
        Assert.Equal(EmbeddedState.Suspended, device.State());
        Qemu.Img("resize", "-q", _scene.Image, "32M");
        Assert.True(device.Resume(EmbeddedScene.Patience, allowShrink: false).Succeeded);
        Assert.Equal(EmbeddedState.Running, device.State());
        Assert.Equal(Outcome.Done(), device.Suspend(EmbeddedScene.Patience));
        Qemu.Img("resize", "-q", "--shrink", _scene.Image, "16M");
        var refused = device.Resume(EmbeddedScene.Patience, allowShrink: false);
        Assert.Equal((OutcomeKind.Failed, EmbeddedState.Suspended), (refused.Kind, device.State()));
        Assert.True(device.Resume(EmbeddedScene.Patience, allowShrink: true).Succeeded);
        device.Close();
    }

    [Fact]
    public void Errors_cross_the_control_socket_with_their_number()
    {
        var device = _scene.Attach();
        Assert.True(device.Suspend(EmbeddedScene.Patience).Succeeded);
        var elsewhere = _scene.File("elsewhere.qcow2");
        File.Move(_scene.Image, elsewhere);
        Assert.Equal(-Errno.ENOENT, device.Resume(EmbeddedScene.Patience, allowShrink: false).Error);
        File.Move(elsewhere, _scene.Image);
        Assert.True(device.Resume(EmbeddedScene.Patience, allowShrink: false).Succeeded);
        device.Close();
    }

    [Fact]
    public void Detach_by_the_handle_leaves_nothing_and_the_handle_says_so()
    {
        var device = _scene.Attach();
        Assert.Equal(Outcome.Done(), device.Detach(EmbeddedScene.Patience, force: false));
        AssertEnded(device);
        Assert.Empty(Directory.GetFileSystemEntries(_scene.Registry.Directory.Path));
        Assert.True(device.Close().Succeeded);
    }

    [Fact]
    public void Detach_by_another_process_leaves_nothing_and_the_handle_says_so()
    {
        var device = _scene.Attach();
        Assert.True(_scene.Ask(ControlVerb.Suspend).Succeeded);
        Assert.Equal(EmbeddedState.Suspended, device.State());
        Assert.True(_scene.Ask(ControlVerb.Resume).Succeeded);
        Assert.True(_scene.Ask(ControlVerb.Detach).Succeeded);
        Assert.Empty(Directory.GetFileSystemEntries(_scene.Registry.Directory.Path));
        AssertEnded(device);
        Assert.True(device.Close().Succeeded);
    }

    [Fact]
    public void Handle_never_means_a_later_device_of_the_same_name()
    {
        var device = _scene.Attach();
        Assert.True(_scene.Ask(ControlVerb.Detach).Succeeded);
        var next = _scene.Attach();
        Assert.Equal(device.Name, next.Name);
        AssertEnded(device);
        Assert.Equal(EmbeddedState.Running, next.State());
        Assert.True(device.Close().Succeeded);
        Assert.Equal(EmbeddedState.Running, next.State());
        next.Close();
    }

    [Fact]
    public void Handle_that_was_found_controls_the_device_and_its_close_does_not_end_it()
    {
        var device = _scene.Attach();
        foreach (var target in (string[])["disk", _scene.Image, device.Uri!])
        {
            var found = EmbeddedDevice.Find(target, _scene.Place);
            Assert.Equal("disk", found.Name);
            Assert.Equal(Outcome.Done(), found.Suspend(EmbeddedScene.Patience));
            Assert.Equal(Outcome.Done(), found.Resume(EmbeddedScene.Patience, allowShrink: false));
            Assert.Equal(Outcome.Done(), found.Close());
        }

        Assert.Equal(EmbeddedState.Running, device.State());
        device.Close();
    }

    [Fact]
    public void What_cannot_be_found_is_told_by_its_kind()
    {
        Assert.Equal(OutcomeKind.NotFound, Assert.Throws<OutcomeException>(() => EmbeddedDevice.Find("disk", _scene.Place)).Kind);
        Assert.Equal(OutcomeKind.Invalid, Assert.Throws<OutcomeException>(() => EmbeddedDevice.Find("", _scene.Place)).Kind);
        using var files = new StateFiles();
        files.Dead(files.Device("dead") with { DevicePath = null, Uri = "nbd://localhost" });
        var dead = Assert.Throws<OutcomeException>(() => EmbeddedDevice.Find("dead", _scene.Place with { Registry = files.Registry }));
        Assert.Equal((OutcomeKind.Failed, "its server is dead"), (dead.Kind, dead.Why));
    }

    [Fact]
    public void Several_devices_of_one_process_do_not_touch_each_other()
    {
        var devices = Enumerable.Range(0, 4).Select(i =>
        {
            var image = _scene.File($"disk{i}.qcow2");
            Qemu.Img("create", "-q", "-f", "qcow2", image, "1M");
            return _scene.Attach(_scene.Options with { Image = image, SocketPath = _scene.File($"s{i}") });
        }).ToArray();
        Assert.Equal(4, _scene.Registry.List().Count);
        Assert.True(devices[1].Suspend(EmbeddedScene.Patience).Succeeded);
        Assert.True(devices[2].Detach(EmbeddedScene.Patience, force: false).Succeeded);
        Assert.Equal([EmbeddedState.Running, EmbeddedState.Suspended, EmbeddedState.Ended, EmbeddedState.Running],
            devices.Select(device => device.State()));
        Assert.All(devices, device => Assert.True(device.Close().Succeeded));
        Assert.Empty(_scene.Registry.List());
    }

    [Theory]
    [InlineData("foreground")]
    [InlineData("run")]
    [InlineData("fd")]
    public void Options_that_make_the_command_a_server_are_refused_and_named(string option)
    {
        var options = option switch
        {
            "foreground" => _scene.Options with { Foreground = true },
            "run" => _scene.Options with { RunCommand = "true" },
            _ => _scene.Options with { SocketPath = null, ListenFd = 3 },
        };
        var refused = Assert.Throws<OutcomeException>(() => _scene.Attach(options));
        Assert.Equal(OutcomeKind.Invalid, refused.Kind);
        Assert.Contains(option == "fd" ? "activating socket" : option, refused.Why, StringComparison.Ordinal);
    }

    [Fact]
    public void Attach_that_fails_leaves_nothing_and_says_why()
    {
        var refused = Assert.Throws<OutcomeException>(() => _scene.Attach(_scene.Options with { Image = _scene.File("missing") }));
        Assert.Equal(OutcomeKind.Failed, refused.Kind);
        Assert.Equal(-Errno.ENOENT, ErrorNumbers.Of(refused));
        Assert.Empty(Directory.GetFileSystemEntries(_scene.Registry.Directory.Path));

        var device = _scene.Attach();
        var busy = Assert.Throws<OutcomeException>(() => _scene.Attach(_scene.Options with { SocketPath = _scene.File("other") }));
        Assert.Equal(OutcomeKind.Busy, busy.Kind);
        device.Close();
    }

    [Fact]
    public void Threads_and_descriptors_are_as_before_after_many_rounds()
    {
        void Round()
        {
            var device = _scene.Attach();
            device.SetEvents(_ => { });
            Assert.True(device.Close().Succeeded);
        }

        for (var i = 0; i < 5; i++)
            Round();
        var (threads, descriptors) = (Threads(), Descriptors());
        for (var i = 0; i < 40; i++)
            Round();
        // Tests beside this one have their own: what leaks here would be 40 of each at least.
        Assert.True(SpinWait.SpinUntil(() => Threads() < threads + 30 && Descriptors() < descriptors + 30, EmbeddedScene.Patience),
            $"{threads} threads and {descriptors} descriptors before, {Threads()} and {Descriptors()} now");
    }

    private static void AssertEnded(EmbeddedDevice device)
    {
        Assert.Equal(EmbeddedState.Ended, device.State());
        Assert.Equal(OutcomeKind.NotFound, Assert.Throws<OutcomeException>(device.Status).Kind);
        Assert.Equal(OutcomeKind.NotFound, device.Suspend(TimeSpan.Zero).Kind);
        Assert.Equal(OutcomeKind.NotFound, device.Resume(TimeSpan.Zero, allowShrink: false).Kind);
        Assert.Equal(OutcomeKind.NotFound, device.Detach(TimeSpan.Zero, force: true).Kind);
    }
}
