using System;
using System.IO;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>An overlay belongs to one version of its base.</summary>
public sealed partial class RemoteBaseTests
{
    [Fact]
    public void Base_that_was_replaced_fails_and_nothing_of_the_other_is_read()
    {
        Random("www/base.raw", 8 << 20);
        var server = Attach(Overlay("base.raw", "raw"), "--base", _web.Url("base.raw"));
        Run.QemuIoAs("raw", server.Uri, "read 0 4k");
        var other = Random("other", 8 << 20, seed: 2);

        // An entity tag of nginx is length and time in seconds.
        File.SetLastWriteTimeUtc(other, DateTime.UtcNow.AddSeconds(-100));
        File.Move(other, _folder.File("www/base.raw"), overwrite: true);

        var read = Run.Program("qemu-io", "-r", "-f", "raw", "-c", "read 4M 64k", server.Uri);
        Assert.Contains("Input/output error", read.Output + read.Errors, StringComparison.Ordinal);
        Run.QemuIoAs("raw", server.Uri, "read 0 4k");
        Assert.Equal("failed", BaseOf(server).GetProperty("state").GetString());
        Assert.NotNull(BaseOf(server).GetProperty("trouble").GetString());
        server.Detach();

        // Attached anew it is another base, with a cache of its own. What was written over the old one does not fit it.
        var refused = _folder.Qcow2Blk("attach", _folder.File("overlay.qcow2"), "--base", _web.Url("base.raw"), "--cache-dir", _cache);
        refused.RefusedWith("it was written over another version of its base");
        refused.RefusedWith("--rebind-base");
        var next = Attach("overlay.qcow2", "--base", _web.Url("base.raw"), "--rebind-base");
        Assert.Equal(Folder.Hash(_folder.File("www/base.raw")), Folder.Hash(next.Copy("copy")));

        // That was said of one attach, not of all that come.
        next.Suspend().Passed();
        var then = File.GetLastWriteTimeUtc(_folder.File("www/base.raw"));
        File.SetLastWriteTimeUtc(_folder.File("www/base.raw"), then.AddSeconds(-100));
        next.Resume().RefusedWith("another version of its base");
        File.SetLastWriteTimeUtc(_folder.File("www/base.raw"), then);
        next.Resume().Passed();
        next.Detach();
    }

    [Fact]
    public void Manifest_binds_as_an_entity_tag_does()
    {
        var path = Random("www/base.raw", 1 << 20);
        var root = _folder.Qcow2Blk("manifest", path).Passed().Output.Trim();
        string[] pinned = ["--base", _web.Url("base.raw"), "--sha256", root];
        Attach(Overlay("base.raw", "raw"), "--base", _web.Url("base.raw")).Detach();
        Refuse("it was written over another version", pinned);
        Attach("overlay.qcow2", [.. pinned, "--rebind-base"]).Detach();
        Attach("overlay.qcow2", pinned).Detach();
        Refuse($"--sha256 {root} accepts only that one", "--base", _web.Url("base.raw"));

        void Refuse(string why, params string[] options) => _folder.Qcow2Blk(["attach", _folder.File("overlay.qcow2"), "--socket",
            _folder.File("s"), "--cache-dir", _cache, .. options]).RefusedWith(why);
    }
}
