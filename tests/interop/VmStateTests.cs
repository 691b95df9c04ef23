using System.Text.Json;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Snapshots with the memory of a machine, made and loaded by qemu, live through all that is done beside them.</summary>
public sealed class VmStateTests
{
    [Theory]
    [InlineData("")]
    [InlineData("cluster_size=4k,refcount_bits=8")]
    [InlineData("extended_l2=on")]
    [InlineData("compat=0.10")]
    public void Machine_can_go_back_to_its_snapshot_after_ours_came_and_went(string options)
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "32M", options);
        Run.QemuIo(image, "write -P 1 0 2M");
        Machine(image, "savevm machine");
        var bytes = VmStateOf(folder, image);
        var server = Server.Attach(folder, image);

        Client.Python3("model_writes.py", server.Uri, folder.Raw(image, "model.raw", "-U"), "1", "3");
        folder.Qcow2Blk("snapshot", "create", server.Name, "ours").Passed();
        Client.Python3("model_writes.py", server.Uri, server.Copy("model.raw"), "2", "3");
        folder.Qcow2Blk("snapshot", "create", server.Name, "other").Passed();
        folder.Qcow2Blk("snapshot", "revert", server.Name, "ours", "--force").Passed();
        folder.Qcow2Blk("snapshot", "delete", server.Name, "ours").Passed();
        server.Detach();

        Verdict.Clean(image);
        Assert.Equal(bytes, VmStateOf(folder, image));
        Machine(image, "loadvm machine");
        Verdict.Clean(image);
        Run.QemuIo(image, "read -P 1 0 2M");
        folder.Qcow2Blk("snapshot", "revert", image, "machine").Passed();
        folder.Qcow2Blk("snapshot", "delete", image, "machine").Passed();
        Verdict.Clean(image);
    }

    private static ulong VmStateOf(Folder folder, string image)
    {
        var list = folder.Qcow2Blk("snapshot", "list", image, "--json").Passed().Output;
        using var json = JsonDocument.Parse(list);
        var size = json.RootElement[0].GetProperty("vm-state-size").GetUInt64();
        Assert.NotEqual(0UL, size);
        return size;
    }

    /// <summary>A machine that is never started, with the image as its disk, obeys a command.</summary>
    private static void Machine(string image, string command)
    {
        using var machine = Run.Start(null, "qemu-system-x86_64", "-M", "pc", "-m", "16", "-accel", "tcg", "-display", "none", "-S",
            "-nodefaults", "-monitor", "stdio", "-drive", $"file={image},if=none,id=disk", "-device", "ide-hd,drive=disk");
        machine.Tell(command);
        machine.Tell("quit");
        var outcome = machine.Wait().Passed();
        Assert.DoesNotContain("Error", outcome.Output + outcome.Errors, System.StringComparison.Ordinal);
    }
}
