using System;
using System.IO;
using Qcow2Blk.Buffers;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Storage;

/// <summary>What a caller asks of a file and cannot mean: refused on its own stack, before anything reaches the file.</summary>
public sealed class TransferRulesTests : IDisposable
{
    private readonly string _path = Path.GetTempFileName();
    private readonly TableBuffer _buffer = new(4096);

    public TransferRulesTests() => File.WriteAllBytes(_path, new byte[8192]);

    public void Dispose()
    {
        _buffer.Dispose();
        File.Delete(_path);
    }

    [Fact]
    public void File_that_was_closed_is_asked_for_nothing()
    {
        var file = Open(readOnly: false);
        file.Dispose();

        AssertBreaks(
            "a file that was closed",
            () => file.ReadAsync(0, _buffer.Take(512)),
            () => file.WriteAsync(0, _buffer.Take(512)),
            file.FlushAsync,
            () => file.PunchAsync(0, 512),
            () => file.ZeroAsync(0, 512),
            () => file.SetLengthAsync(512));
    }

    [Fact]
    public void File_opened_for_reading_is_not_changed()
    {
        using var file = Open(readOnly: true);

        AssertBreaks(
            "opened for reading",
            () => file.WriteAsync(0, _buffer.Take(512)),
            () => file.PunchAsync(0, 512),
            () => file.ZeroAsync(0, 512),
            () => file.SetLengthAsync(512));
    }

    [Fact]
    public void Image_whose_lock_was_let_go_is_not_changed()
    {
        using var file = Open(readOnly: false);
        file.Lock = ImageLock.Acquire(file.Descriptor, _path, write: true);
        file.Lock.Release();

        AssertBreaks(
            "while its lock is held",
            () => file.WriteAsync(0, _buffer.Take(512)),
            () => file.PunchAsync(0, 512),
            () => file.ZeroAsync(0, 512),
            () => file.SetLengthAsync(512));
        Assert.Equal(8192, new FileInfo(_path).Length);
    }

    [Theory]
    [InlineData(-1, 512, "begins in a file")]
    [InlineData(long.MaxValue - 100, 512, "begins in a file")]
    [InlineData(256, 512, "whole units")]
    [InlineData(512, 100, "whole units")]
    public void Write_that_cannot_be_meant_is_refused(long offset, int length, string rule)
    {
        using var loop = new SimulatedLoop(1);
        using var storage = new MemoryStorage(loop, new SparseBytes(), alignment: 512);

        AssertBreaks(rule, () => storage.WriteAsync(offset, _buffer.Take(length)));
        AssertBreaks("memory of its length", () => storage.WriteAsync(0, new NativeBuffer(0, 512)));
        Assert.Equal((0, 0L), (storage.InFlight, storage.Started));
    }

    [Theory]
    [InlineData(-512, 512)]
    [InlineData(0, 0)]
    [InlineData(512, -512)]
    [InlineData(long.MaxValue - 100, 512)]
    public void Range_that_is_not_in_a_file_is_neither_punched_nor_zeroed(long offset, long length)
    {
        using var loop = new SimulatedLoop(1);
        using var storage = new MemoryStorage(loop, new SparseBytes());

        AssertBreaks("freed or zeroed", () => storage.PunchAsync(offset, length), () => storage.ZeroAsync(offset, length));
    }

    private FileStorage Open(bool readOnly)
    {
        Assert.Equal(0, FileStorage.Open(_path, readOnly, direct: false, out var file));
        return file!;
    }

    private static void AssertBreaks(string rule, params Func<LoopTask<int>>[] calls)
    {
        foreach (var call in calls)
            Assert.Contains(rule, Assert.Throws<InvariantBreach>(() => { call(); }).Message);
    }
}
