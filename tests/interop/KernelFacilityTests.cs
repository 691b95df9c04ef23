using System;
using System.IO;
using System.Text.Json;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Where the kernel or the file system lacks something, the disk is served all the same.</summary>
public sealed class KernelFacilityTests : IDisposable
{
    private readonly Folder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Image_is_served_where_io_uring_is_forbidden()
    {
        Assert.SkipUnless(File.Exists("/usr/bin/strace") && Run.Program("strace", "-f", "-o", "/dev/null", "true").Status == 0,
            "no strace");
        var image = _folder.Image("disk.qcow2", "32M", "cluster_size=4k");
        var model = _folder.Raw(image, "model.raw");
        var socket = _folder.File("s");

        using var server = Run.Start(Command.Environment(_folder), "strace", "-f", "-qq", "-o", "/dev/null", "-e",
            "trace=io_uring_setup",
            "-e", "inject=io_uring_setup:error=EPERM", Command.Path, "attach", image, "--socket", socket, "--foreground", "--name", "disk");
        var uri = server.WaitForLine("nbd+unix:");
        Client.Python3("model_writes.py", uri, model, "3", "10");
        var status = _folder.Qcow2Blk("status", "disk", "--json").Passed().Output;
        Assert.False(JsonDocument.Parse(status).RootElement.GetProperty("kernel").GetProperty("io-uring").GetBoolean());
        _folder.Qcow2Blk("suspend", "disk").Passed();
        Verdict.Clean(image);
        _folder.Qcow2Blk("resume", "disk").Passed();
        Client.Python3("model_writes.py", uri, model, "4", "10");
        _folder.Qcow2Blk("detach", "disk").Passed();

        server.Wait().Passed();
        Verdict.Clean(image);
        Verdict.SameDisk(model, image);
    }

    [Fact]
    public void File_system_that_refuses_o_direct_is_used_through_the_page_cache_with_a_warning()
    {
        var directory = _folder.Sub("ram");
        Assert.SkipUnless(Run.Program("mount", "-t", "ramfs", "ramfs", directory).Status == 0, "no right to mount a ramfs");
        try
        {
            var image = _folder.Image("ram/disk.qcow2", "8M");
            var server = Server.Attach(_folder, image);

            Assert.Contains("O_DIRECT", server.Warnings);
            Assert.Single(server.Warnings.TrimEnd('\n').Split('\n'));
            Assert.False(server.Status().GetProperty("chain")[0].GetProperty("direct").GetBoolean());
            Run.QemuIoAs("raw", server.Uri, "write -P 1 0 1M", "write -z 64k 64k", "discard 128k 64k", "flush", "read -P 1 0 64k");
            server.Detach();
            Verdict.Clean(image);
            Run.QemuIo(image, "read -P 1 0 64k", "read -P 0 64k 128k", "read -P 1 192k 832k");
        }
        finally
        {
            Run.Program("umount", "-l", directory);
        }
    }
}
