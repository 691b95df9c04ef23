using System;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>An image of qemu's making, open in the engine on a simulated loop; requests are made one after another.</summary>
internal sealed class OneImage : IDisposable
{
    private readonly IDisk? _backing;

    public OneImage(
        SparseBytes content, SparseBytes? backing = null, int seed = 1, Action<string>? report = null, ImageOptions? options = null,
        int alignment = 1, long? modified = null)
    {
        Loop = new SimulatedLoop(seed);
        Storage = new MemoryStorage(Loop, content, alignment) { Modified = modified };
        if (backing is not null)
        {
            _backing =
                Loop.RunUntilComplete(Qcow2Image.OpenAsync(BackingFile.Open(Loop, backing), new ImageOptions { ReadOnly = true }, null));
        }

        options = (options ?? new ImageOptions()) with { Report = report ?? BrokenRule.Refuse };
        Image = Loop.RunUntilComplete(Qcow2Image.OpenAsync(Storage, options, _backing));
    }

    public SimulatedLoop Loop { get; }

    public MemoryStorage Storage { get; }

    public Qcow2Image Image { get; }

    /// <summary>An empty image, then some qemu-io commands on it.</summary>
    public static SparseBytes Make(string options, string size, params string[] qemuIo) => Make(options, size, null, qemuIo);

    /// <summary>As above; <paramref name="after"/> gets the path of the image in the end.</summary>
    public static SparseBytes Make(string options, string size, Action<string>? after, params string[] qemuIo)
    {
        using var directory = new TempDirectory();
        var image = directory.File("image.qcow2");
        Qemu.Img("create", "-f", "qcow2", "-o", options, image, size);
        if (qemuIo.Length > 0)
            Qemu.Io(image, qemuIo);
        after?.Invoke(image);
        return SparseBytes.FromFile(image);
    }

    public int Write(long offset, int length, byte value) => Loop.Run(() => WriteAsync(offset, length, value));

    public async LoopTask<int> WriteAsync(long offset, int length, byte value)
    {
        using var buffer = new TableBuffer(length);
        buffer.Span.Fill(value);
        return await Image.WriteAsync(offset, buffer.Take(length), forceUnitAccess: false);
    }

    public int Flush() => Loop.Run(Image.FlushAsync);

    public int Discard(long offset, long length) => Loop.Run(() => Image.DiscardAsync(offset, length));

    public int Zero(long offset, long length, ZeroFlags flags) => Loop.Run(() => Image.WriteZeroesAsync(offset, length, flags));

    /// <summary>The errno of reading a range, or 0 if all of it is <paramref name="value"/>; 1 if it is not.</summary>
    public int Expect(long offset, int length, byte value)
    {
        using var buffer = new TableBuffer(length);
        var result = Loop.RunUntilComplete(Image.ReadAsync(offset, buffer.Take(length)));
        return result < 0 ? result : buffer.Span[..length].ContainsAnyExcept(value) ? 1 : 0;
    }

    /// <summary>Closes the image; it must be without errors then.</summary>
    public CheckResult Close()
    {
        Assert.Equal(0, Loop.Run(Image.CloseAsync));
        var result = BytesChecker.Check(Storage.Content);
        Assert.True(result.Errors == 0, result.Errors == 0 ? "" : result.Findings[0].Message);
        return result;
    }

    public void Dispose() => Loop.Dispose();
}
