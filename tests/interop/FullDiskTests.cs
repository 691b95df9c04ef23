using System;
using System.IO;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>The host's file system is full: told to the client, or waited for, as asked; the image stays sound either way.</summary>
public sealed class FullDiskTests : IDisposable
{
    private readonly Folder _folder = new();
    private readonly string _disk;
    private readonly bool _mounted;

    public FullDiskTests()
    {
        _disk = _folder.Sub("full");
        _mounted = Run.Program("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", _disk).Status == 0;
    }

    public void Dispose()
    {
        if (_mounted)
            Run.Program("umount", "-l", _disk);
        _folder.Dispose();
    }

    [Fact]
    public void Report_tells_the_client_and_the_image_goes_on()
    {
        Assert.SkipUnless(_mounted, "no right to mount a small tmpfs");
        var image = _folder.Image("full/disk.qcow2", "64M");
        var server = Server.Attach(_folder, image, "--on-enospc", "report");

        Run.QemuIoAs("raw", server.Uri, "write -P 1 0 1M", "flush");
        var full = Run.Program("qemu-io", "-f", "raw", "-c", "write -P 2 8M 8M", server.Uri);

        Assert.Contains("No space left on device", full.Output + full.Errors);
        Run.QemuIoAs("raw", server.Uri, "write -P 3 0 64k", "flush", "read -P 3 0 64k", "read -P 1 64k 64k");
        _folder.Qcow2Blk("detach", server.Name).Passed();
        Verdict.Sound(image);
        Run.QemuIo(image, "read -P 3 0 64k", "read -P 1 64k 960k");
    }

    [Fact]
    public void Stop_parks_the_request_visibly_until_there_is_space()
    {
        Assert.SkipUnless(_mounted, "no right to mount a small tmpfs");
        (var image, var filler, var server, var write) = ParkAWrite();

        Run.QemuIoAs("raw", server.Uri, "read -P 0 0 64k");
        File.Delete(filler);

        Assert.DoesNotContain("failed", write.Wait().Passed().Output);
        Run.QemuIoAs("raw", server.Uri, "read -P 2 8M 2M");
        server.Detach();
        Verdict.Sound(image);
        Run.QemuIo(image, "read -P 2 8M 2M");
    }

    [Fact]
    public void Parked_request_is_kept_over_suspend_and_resume_and_ends_when_there_is_space()
    {
        Assert.SkipUnless(_mounted, "no right to mount a small tmpfs");
        (var image, var filler, var server, var write) = ParkAWrite();

        server.Suspend("--timeout", "10").Passed();
        Verdict.Sound(image);
        File.Delete(filler);
        server.Resume().Passed();

        Assert.DoesNotContain("failed", write.Wait().Passed().Output);
        server.Detach();
        Run.QemuIo(image, "read -P 2 8M 2M");
    }

    [Fact]
    public void Detach_tells_the_client_of_a_parked_request_that_there_is_no_space()
    {
        Assert.SkipUnless(_mounted, "no right to mount a small tmpfs");
        (var image, var filler, var server, var write) = ParkAWrite();

        var detached = _folder.Qcow2Blk("detach", server.Name, "--timeout", "10", "--force").Passed();

        Assert.NotEqual(0, write.Wait().Status);
        Assert.Empty(detached.Output);
        File.Delete(filler);
        Verdict.Sound(image);
    }

    private (string Image, string Filler, Server Server, Running Write) ParkAWrite()
    {
        var image = _folder.Image("full/disk.qcow2", "64M");
        var filler = _folder.File("full/filler");
        File.WriteAllBytes(filler, new byte[3 << 20]);
        var server = Server.Attach(_folder, image, "--on-enospc", "stop");
        var write = _folder.Own(Run.Start(null, "qemu-io", "-f", "raw", "-c", "write -P 2 8M 2M", "-c", "flush", server.Uri));
        Deadline.Until(() => write.HasExited || server.Status().GetProperty("requests").GetProperty("waiting-for-space").GetInt64() > 0,
            "the write waits for space");
        Assert.False(write.HasExited);
        return (image, filler, server, write);
    }
}
