using System;
using System.IO;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>A resume that fails changes nothing: the device stays suspended, what it holds is kept, and resume can be tried
/// again.</summary>
public sealed class ResumeFailsTests : IDisposable
{
    private const int Held = 5;

    private readonly Folder _folder = new();
    private readonly string _image;
    private readonly Server _server;
    private readonly Running _client;

    public ResumeFailsTests()
    {
        _image = _folder.Image("disk.qcow2", "8M");
        _server = Server.Attach(_folder, _image);
        _client = _folder.Own(Client.Start("held_write.py", _server.Uri, "1048576", $"{Held}"));
        _client.WaitForLine("connected");
        _server.Suspend().Passed();
        _client.Tell("go");
        _client.WaitForLine("sent");
    }

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Image_moved_away()
    {
        var elsewhere = _folder.File("elsewhere");
        File.Move(_image, elsewhere);

        _server.Resume().Refused(1, "cannot resume", "disk.qcow2", "no such file");

        AssertNothingHappened(elsewhere);
        File.Move(elsewhere, _image);
        AssertResumes();
    }

    [Fact]
    public void Image_locked_by_qemu_io()
    {
        using (var qemu = Run.Start(null, "qemu-io", "-f", "qcow2", _image))
        {
            ImageLock.WaitUntilTaken(_image);
            _server.Resume("--timeout", "0").Refused(4, "cannot resume", "is in use by", "qemu-io");
            AssertNothingHappened(_image);
            qemu.Tell("quit");
            qemu.Wait().Passed();
        }

        AssertResumes();
    }

    [Theory]
    [InlineData(0, "magic")]
    [InlineData(4, "version")]
    [InlineData(20, "cluster")]
    [InlineData(40, "L1")]
    [InlineData(72, "incompatible")]
    public void Header_corrupted(int offset, string field)
    {
        var good = Bytes.Overwrite(_image, offset, [0xff, 0xff, 0xff, 0xff]);

        _server.Resume().Refused(1, "cannot resume", "disk.qcow2", field);

        AssertNothingHappened(_image);
        Bytes.Overwrite(_image, offset, good);
        AssertResumes();
    }

    [Fact]
    public void Image_replaced_by_a_directory()
    {
        var elsewhere = _folder.File("elsewhere");
        File.Move(_image, elsewhere);
        Directory.CreateDirectory(_image);

        _server.Resume().Refused(1, "cannot resume", "disk.qcow2", "directory");

        Directory.Delete(_image);
        File.Move(elsewhere, _image);
        AssertResumes();
    }

    [Fact]
    public void Detach_while_suspended_leaves_the_image_as_it_is()
    {
        var before = Folder.Hash(_image);

        _folder.Qcow2Blk("detach", _server.Name).Passed();

        Assert.Equal(before, Folder.Hash(_image));
        Assert.NotEqual(0, _client.Wait().Status);
        Verdict.Clean(_image);
    }

    private void AssertNothingHappened(string image)
    {
        var before = Folder.Hash(image);
        Assert.Equal("suspended", _server.ReadState());
        Assert.False(_client.HasExited);
        Assert.DoesNotContain(_server.OpenFiles(), path => path == image);
        Assert.Equal(before, Folder.Hash(image));
    }

    private void AssertResumes()
    {
        _server.Resume().Passed();
        _client.WaitForLine("done");
        _client.Wait().Passed();
        _server.Detach();
        Verdict.Clean(_image);
        for (var i = 0; i < Held; i++)
            Run.QemuIo(_image, $"read -P {i + 1} {1048576 + i * 4096} 4096");
    }
}
