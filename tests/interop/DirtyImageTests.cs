using System;
using System.IO;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Images with lazy refcounts whose writer died: repaired when attached for writing, as qemu does.</summary>
public sealed class DirtyImageTests : IDisposable
{
    private readonly Folder _folder = new();
    private readonly string _image;

    public DirtyImageTests()
    {
        _image = _folder.Image("disk.qcow2", "16M", "lazy_refcounts=on");
        // qemu-io dies of a signal: no clean close.
        Run.Program("qemu-io", "-f", "qcow2", "-c", "write -P 1 0 1M", "-c", "write -P 2 8M 100k", "-c", "flush", "-c", "abort", _image);
        Assert.True(IsDirty());
    }

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Image_that_qemu_left_dirty_is_repaired_at_attach_and_clean_after_detach()
    {
        var server = Server.Attach(_folder, _image);
        Run.QemuIoAs("raw", server.Uri, "read -P 1 0 1M", "read -P 2 8M 100k", "write -P 3 4M 1M", "flush");
        server.Detach();

        Assert.False(IsDirty());
        Verdict.Clean(_image);
        Run.QemuIo(_image, "read -P 1 0 1M", "read -P 2 8M 100k", "read -P 3 4M 1M");
    }

    [Fact]
    public void Dirty_image_that_was_made_8_TiB_long_is_repaired_in_little_memory_and_clean_after_detach()
    {
        using (var file = File.OpenWrite(_image))
            file.SetLength(8L << 40);
        var server = Server.Attach(_folder, _image);
        Assert.InRange(server.ResidentKiB, 0, 64 << 10);
        Run.QemuIoAs("raw", server.Uri, "read -P 1 0 1M", "read -P 2 8M 100k", "write -P 3 4M 1M", "flush");
        server.Detach();

        Assert.False(IsDirty());
        Verdict.Clean(_image);
        Run.QemuIo(_image, "read -P 1 0 1M", "read -P 2 8M 100k", "read -P 3 4M 1M");
        Assert.InRange(long.Parse(Run.Program("stat", "-c", "%b", _image).Passed().Output) * 512, 1, 16 << 20);
    }

    [Fact]
    public void Image_that_qemu_left_dirty_can_be_read_without_a_change()
    {
        var before = Folder.Hash(_image);

        var server = Server.Attach(_folder, _image, "--read-only");
        Run.QemuIoAs("raw", server.Uri, "read -P 1 0 1M", "read -P 2 8M 100k");
        server.Detach();

        Assert.Equal(before, Folder.Hash(_image));
    }

    [Fact]
    public void Image_that_our_killed_server_left_is_attached_again_and_clean_after()
    {
        var first = Server.Attach(_folder, _image);
        Run.QemuIoAs("raw", first.Uri, "write -P 4 2M 1M", "flush", "write -P 5 6M 1M");
        first.Kill();

        var second = Server.Attach(_folder, _image, "--name", "second");
        Run.QemuIoAs("raw", second.Uri, "read -P 4 2M 1M", "read -P 1 0 1M");
        second.Detach();

        Verdict.Sound(_image);
        Run.QemuImg("check", "-q", "-r", "leaks", _image);
        Verdict.Clean(_image);
    }

    private bool IsDirty()
    {
        using var file = File.OpenRead(_image);
        file.Position = 79;
        return (file.ReadByte() & 1) != 0;
    }
}
