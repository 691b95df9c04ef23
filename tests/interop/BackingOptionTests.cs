using System;
using System.IO;
using System.Text.Json;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Images whose backing file has moved, or whose format they do not state, are served and described as they are.</summary>
public sealed class BackingOptionTests : IDisposable
{
    private readonly Folder _folder = new();
    private readonly string _top;

    public BackingOptionTests()
    {
        _folder.Image("base.qcow2", "1M");
        Run.QemuIo(_folder.File("base.qcow2"), "write -P 5 0 64k");
        _top = _folder.Overlay("disk.qcow2", "base.qcow2");
        // The extension of the format name becomes one that nobody knows.
        Bytes.Overwrite(_top, 112, [0x12, 0x34, 0x56, 0x78]);
        File.SetUnixFileMode(_top, UnixFileMode.UserRead);
    }

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Format_is_stated_for_an_image_that_cannot_be_changed()
    {
        var before = Folder.Hash(_top);
        _folder.Qcow2Blk("attach", _top, "--read-only", "--socket", _folder.File("s"))
            .Refused(1, "disk.qcow2", "--backing-format qcow2|raw");
        _folder.Qcow2Blk("map", _top).Refused(1, "disk.qcow2", "--backing-format qcow2|raw");

        var server = Server.Attach(_folder, _top, "--read-only", "--backing-format", "qcow2");
        Run.QemuIoAs("raw", server.Uri, "read -P 5 0 64k");
        Assert.Equal("qcow2", server.Status().GetProperty("backing-format").GetString());
        Assert.Equal(JsonValueKind.Null, server.Status().GetProperty("backing").ValueKind);
        Assert.Contains("backing format", _folder.Qcow2Blk("status", server.Name).Passed().Output, StringComparison.Ordinal);
        server.Suspend().Passed();
        server.Resume().Passed();
        Run.QemuIoAs("raw", server.Uri, "read -P 5 0 64k");
        server.Detach();

        var map = _folder.Qcow2Blk("map", _top, "--json", "--backing-format", "qcow2").Passed();
        Assert.Contains("\"depth\": 1", map.Output, StringComparison.Ordinal);
        Assert.Equal(before, Folder.Hash(_top));
    }

    [Fact]
    public void Base_that_has_moved_is_named_relative_to_the_working_directory()
    {
        var moved = Path.Combine(_folder.Sub("elsewhere"), "moved.qcow2");
        File.Move(_folder.File("base.qcow2"), moved);
        var relative = Path.GetRelativePath(Environment.CurrentDirectory, moved);
        string[] options = ["--backing", relative, "--backing-format", "qcow2"];

        var server = Server.Attach(_folder, _top, ["--read-only", .. options]);
        Run.QemuIoAs("raw", server.Uri, "read -P 5 0 64k");
        var shown = server.Status().GetProperty("backing").GetString()!;
        Assert.Equal(moved, Path.GetFullPath(shown));
        Assert.Equal(shown, server.Status().GetProperty("chain")[1].GetProperty("path").GetString());
        server.Detach();

        var info = _folder.Qcow2Blk(["info", _top, "--json", .. options]).Passed();
        Assert.Equal(2, JsonDocument.Parse(info.Output).RootElement.GetProperty("chain").GetArrayLength());
        string[] attach = ["attach", _top, "--read-only", "--socket", _folder.File("s"), .. options];
        _folder.Qcow2Blk([.. attach, "--backing-dir", _folder.RuntimeDirectory])
            .Refused(1, "disk.qcow2", "is not in a directory given");
        _folder.Qcow2Blk(["attach", moved, "--socket", _folder.File("s"), .. options]).Refused(1, "moved.qcow2", "has no backing file");
        _folder.Qcow2Blk([.. attach, "--no-backing"]).Refused(2, "--no-backing and --backing cannot be used together");
        _folder.Qcow2Blk(["map", _top, "--format", "raw", .. options]).Refused(2, "--backing needs --format qcow2");
    }
}
