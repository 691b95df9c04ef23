using System;
using System.IO;
using System.Linq;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>A server that dies while it opens its image: its starter says by what, and the next one finds nothing in its way.</summary>
public sealed class DyingServerTests : IDisposable
{
    private readonly Folder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Server_that_a_signal_kills_as_it_repairs_the_image_leaves_no_device_and_its_signal_is_told()
    {
        var image = _folder.Image("disk.qcow2", "64M", "lazy_refcounts=on");
        Run.QemuIo(image, "write -P 1 0 64k");

        // The dirty bit, and a refcount that is too low: it is put right, past the limit of file sizes.
        Bytes.Overwrite(image, 79, [1]);
        Bytes.Overwrite(image, 0x20000 + (5 * 2), [0, 0]);

        string[] limited = ["--fsize=70000", Command.Path, "attach", image, "--socket", _folder.File("s")];
        var outcome = Run.Start(Command.Environment(_folder), "prlimit", limited).Wait();

        Assert.Equal(1, outcome.Status);
        Assert.Equal($"qcow2blk: cannot attach {image}: the server was killed by signal 25 (XFSZ) before it was ready (see the system log)",
            outcome.Errors.Split('\n', StringSplitOptions.RemoveEmptyEntries).Last());
        Assert.Equal("[]\n", _folder.Qcow2Blk("list", "--json").Passed().Output);
        Assert.Empty(Directory.GetFileSystemEntries(_folder.RuntimeDirectory));
        Server.Attach(_folder, image, "--name", "disk").Detach();
        Verdict.Clean(image);
    }
}
