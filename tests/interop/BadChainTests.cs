using System;
using System.IO;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Backing files are a trust decision: what is missing, looping, damaged or not allowed is refused by name.</summary>
public sealed class BadChainTests : IDisposable
{
    private readonly Folder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Missing_base()
    {
        var overlay = _folder.Overlay("disk.qcow2", _folder.Image("base.qcow2", "1M"));
        File.Delete(_folder.File("base.qcow2"));

        Attach(overlay).Refused(1, "disk.qcow2", "base.qcow2", "does not exist");
    }

    [Fact]
    public void Base_that_is_no_qcow2()
    {
        var overlay = _folder.Overlay("disk.qcow2", _folder.Image("base.qcow2", "1M"));
        Bytes.Overwrite(_folder.File("base.qcow2"), 0, [0]);

        Attach(overlay).Refused(1, "base.qcow2", "magic");
    }

    [Fact]
    public void Image_that_is_its_own_base()
    {
        var image = _folder.Image("disk.qcow2", "1M");
        Run.QemuImg("rebase", "-u", "-f", "qcow2", "-b", "disk.qcow2", "-F", "qcow2", image);

        Attach(image).Refused(1, "disk.qcow2", "backing");
    }

    [Fact]
    public void Loop_of_three_through_a_link()
    {
        var bottom = _folder.Image("a.qcow2", "1M");
        _folder.Overlay("b.qcow2", "a.qcow2");
        var top = _folder.Overlay("c.qcow2", "b.qcow2");
        File.CreateSymbolicLink(_folder.File("again.qcow2"), top);
        Run.QemuImg("rebase", "-u", "-f", "qcow2", "-b", "again.qcow2", "-F", "qcow2", bottom);

        Attach(top).Refused(1, "backing", "leads back");
    }

    [Fact]
    public void Base_without_a_format_is_not_probed()
    {
        var overlay = _folder.Overlay("disk.qcow2", _folder.Image("base.qcow2", "1M"));
        // The extension of the format name becomes one that nobody knows.
        Bytes.Overwrite(overlay, 112, [0x12, 0x34, 0x56, 0x78]);

        Attach(overlay).Refused(1, "disk.qcow2", "backing", "format");
    }

    [Fact]
    public void Base_that_is_a_directory()
    {
        var overlay = _folder.Overlay("disk.qcow2", _folder.Image("base.qcow2", "1M"));
        File.Delete(_folder.File("base.qcow2"));
        _folder.Sub("base.qcow2");

        Attach(overlay).Refused(1, "base.qcow2", "is a directory");
    }

    [Fact]
    public void No_backing_refuses_an_overlay_and_takes_an_image_without_base()
    {
        var below = _folder.Image("base.qcow2", "1M");
        var overlay = _folder.Overlay("disk.qcow2", "base.qcow2");

        Attach(overlay, "--no-backing").Refused(1, "disk.qcow2", "backing", "base.qcow2");
        Server.Attach(_folder, below, "--no-backing").Detach();
    }

    [Theory]
    [InlineData("allowed/base.qcow2", true)]
    [InlineData("allowed/../allowed/base.qcow2", true)]
    [InlineData("other/base.qcow2", false)]
    [InlineData("allowed/../other/base.qcow2", false)]
    [InlineData("allowed/link.qcow2", false)]
    [InlineData("allowed-not/base.qcow2", false)]
    public void Backing_file_must_lie_in_an_allowed_directory(string name, bool allowed)
    {
        foreach (var directory in new[] { "allowed", "other", "allowed-not" })
        {
            _folder.Sub(directory);
            _folder.Image($"{directory}/base.qcow2", "1M");
        }

        File.CreateSymbolicLink(_folder.File("allowed/link.qcow2"), _folder.File("other/base.qcow2"));
        var overlay = _folder.Overlay("disk.qcow2", name);

        if (allowed)
            Server.Attach(_folder, overlay, "--backing-dir", _folder.File("allowed")).Detach();
        else
            Attach(overlay, "--backing-dir", _folder.File("allowed")).Refused(1, "disk.qcow2", "--backing-dir");
    }

    private Outcome Attach(string image, params string[] options)
    {
        var before = Folder.Hash(image);
        var outcome = _folder.Qcow2Blk([.. new[] { "attach", image, "--socket", _folder.File("s") }, .. options]);
        Assert.Equal(before, Folder.Hash(image));
        return outcome;
    }
}
