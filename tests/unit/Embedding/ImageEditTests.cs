using System;
using System.IO;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Embedding;
using Qcow2Blk.Interop;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Embedding;

/// <summary>Edits of an image that a program has open: whoever uses it waits, and nobody is refused.</summary>
public sealed class ImageEditTests
{
    private const int Cluster = EmbeddedScene.Cluster;
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);

    /// <summary>As an edit holds it: neither a thread by itself nor the loop begins anything, until it is released.</summary>
    [Theory]
    [InlineData("Read", 0)]
    [InlineData("Write", 0)]
    [InlineData("Write", 12 << 20)]
    [InlineData("Flush", 0)]
    [InlineData("Discard", 0)]
    [InlineData("BlockStatus", 0)]
    public async Task Request_that_comes_while_an_edit_runs_waits_for_its_end(string name, long offset)
    {
        var kind = Enum.Parse<RequestKind>(name);
        using var scene = new EmbeddedScene();
        var image = scene.Open();
        scene.Read(0, 4096);
        using var held = new ManualResetEventSlim();
        image.Loop.PostFromAnyThread(() => image.Gate.Hold(held.Set));
        Assert.True(held.Wait(s_patience, TestContext.Current.CancellationToken));
        var length = kind == RequestKind.Flush ? 0 : 4096;
        var shape = new RequestShape(kind, scene.Memory, offset, length, RequestFlags.None) { Extents = 8 };
        var request = Task.Run(() => image.Execute(shape), TestContext.Current.CancellationToken);
        await Task.Delay(100, TestContext.Current.CancellationToken);
        Assert.False(request.IsCompleted);
        image.Loop.PostFromAnyThread(image.Gate.Release);
        var result = await request.WaitAsync(s_patience, TestContext.Current.CancellationToken);
        Assert.Equal(kind is RequestKind.Read or RequestKind.Write ? length : kind == RequestKind.BlockStatus ? 1 : 0, result);
    }

    [Fact]
    public async Task Image_that_is_closed_while_an_edit_waits_is_edited_and_closed()
    {
        using var scene = new EmbeddedScene();
        var image = scene.Open();
        var edits = Task.Run(() =>
        {
            Outcome last;
            do
                last = image.Edit(ImageEditRequests.CreateSnapshot("s"));
            while (last.Succeeded);
            return last;
        }, TestContext.Current.CancellationToken);
        await Task.Delay(50, TestContext.Current.CancellationToken);
        Assert.Equal(0, scene.Close());
        Assert.Equal(-Errno.ESHUTDOWN, (await edits.WaitAsync(s_patience, TestContext.Current.CancellationToken)).Error);
        QemuImg.Check(scene.Path);
    }

    /// <summary>The key belongs to the image: it is wiped with it, not with the options.</summary>
    [Fact]
    public void Key_is_gone_when_the_image_is_closed_and_the_options_are()
    {
        using var scene = new EmbeddedScene();
        scene.Settings.SetKey("open sesame"u8);
        var ofOptions = scene.Settings.OfImage(scene.Path, readOnly: false).HeldKey!;
        scene.Settings.SetKey("another"u8);
        Assert.Throws<ObjectDisposedException>(() => ofOptions.Span.Length);
        var second = scene.Settings.OfImage(scene.Path, readOnly: false).HeldKey!;
        Assert.Equal("another"u8, second.Span);
        scene.Settings.Close();
        Assert.Throws<ObjectDisposedException>(() => second.Span.Length);
    }

    [Fact]
    public void Image_that_does_not_open_again_is_only_to_be_closed()
    {
        using var scene = new EmbeddedScene();
        var image = scene.Open();
        Assert.True(image.Edit(ImageEditRequests.CreateSnapshot("s")).Succeeded);
        File.Move(scene.Path, scene.Path + ".hidden");
        var failure = Assert.Throws<OutcomeException>(() => image.Edit(ImageEditRequests.RevertSnapshot("s", force: true)));
        Assert.Equal(-Errno.ENOENT, failure.Error);
        Assert.Equal(-Errno.EIO, scene.Read(0, 512));
        Assert.Equal(-Errno.EIO, image.Edit(ImageEditRequests.ListBitmaps()).Error);
        Assert.Equal(0, scene.Close());
        QemuImg.Check(scene.Path + ".hidden");
    }
}
