using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Two writers never meet: locks as qemu takes them, seen from both sides.</summary>
public sealed class LockTests
{
    [Fact]
    public void Second_writer_of_ours_is_told_who_writes_and_exits_with_4()
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "1M");
        var server = Server.Attach(folder, image);

        folder.Qcow2Blk("attach", image, "--socket", folder.File("second"))
            .Refused(4, "disk.qcow2", "image is in use by", "qcow2blk", $"{server.Pid}");
        folder.Qcow2Blk("attach", image, "--read-only", "--socket", folder.File("second")).Refused(4, "image is in use by");
        Assert.False(System.IO.File.Exists(folder.File("second")));
        server.Detach();
    }

    [Fact]
    public void Qemu_neither_writes_nor_reads_what_we_write()
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "1M");
        var server = Server.Attach(folder, image);

        var write = Run.Program("qemu-io", "-f", "qcow2", "-c", "write 0 512", image);
        var check = Run.Program("qemu-img", "check", image);
        var forced = Run.Program("qemu-img", "info", "-U", image);

        Assert.Contains("Failed to get", write.Output + write.Errors);
        Assert.Contains("Failed to get", check.Errors);
        forced.Passed();
        server.Detach();
    }

    [Fact]
    public void What_qemu_nbd_writes_is_refused_and_what_it_reads_can_be_read()
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "1M");

        using (QemuNbd.Serve(folder, image))
            folder.Qcow2Blk("attach", image, "--socket", folder.File("s")).Refused(4, "image is in use by", "qemu-nbd");
        using (QemuNbd.Serve(folder, image, "--read-only"))
        {
            folder.Qcow2Blk("attach", image, "--socket", folder.File("s")).Refused(4, "image is in use by", "qemu-nbd");
            Server.Attach(folder, image, "--read-only").Detach();
        }
    }

    [Fact]
    public void Two_overlays_share_a_base_that_nobody_may_write()
    {
        using var folder = new Folder();
        var below = folder.Image("base.qcow2", "1M");
        Run.QemuIo(below, "write -P 1 0 64k");
        var first = Server.Attach(folder, folder.Overlay("first.qcow2", "base.qcow2"));
        var second = Server.Attach(folder, folder.Overlay("second.qcow2", "base.qcow2"));

        Run.QemuIoAs("raw", first.Uri, "read -P 1 0 64k", "write -P 2 0 64k");
        Run.QemuIoAs("raw", second.Uri, "read -P 1 0 64k");
        folder.Qcow2Blk("attach", below, "--socket", folder.File("s")).Refused(4, "base.qcow2", "is in use by");
        var qemu = Run.Program("qemu-io", "-f", "qcow2", "-c", "write 0 512", below);

        Assert.Contains("Failed to get \"write\" lock", qemu.Output + qemu.Errors);
        Server.Attach(folder, below, "--read-only").Detach();
        first.Detach();
        second.Detach();
        Server.Attach(folder, below).Detach();
    }

    [Fact]
    public void Base_that_somebody_writes_is_refused_by_its_name()
    {
        using var folder = new Folder();
        var below = folder.Image("base.qcow2", "1M");
        var overlay = folder.Overlay("disk.qcow2", "base.qcow2");
        var writer = Server.Attach(folder, below);

        folder.Qcow2Blk("attach", overlay, "--socket", folder.File("s")).Refused(4, "disk.qcow2", "base.qcow2", "is in use by");

        writer.Detach();
        Server.Attach(folder, overlay).Detach();
    }

    [Fact]
    public void Killed_server_leaves_no_lock()
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "1M");
        Server.Attach(folder, image).Kill();

        Run.QemuIo(image, "write -P 1 0 64k");
        Server.Attach(folder, image, "--name", "again").Detach();
    }
}
