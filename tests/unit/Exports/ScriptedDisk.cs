using System;
using System.Collections.Generic;
using Qcow2Blk.Buffers;
using Qcow2Blk.Image;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Tests.Exports;

/// <summary>A disk without a file: it notes what is asked of it, and answers as a test says.</summary>
internal sealed class ScriptedDisk(long size) : IDisk
{
    private readonly WaitQueue _released = new();

    public long Size { get; } = size;

    public bool ReadOnly => false;

    public long ClusterBytes => 4096;

    public long TurnBytes => 1L << 30;

    public bool TurnsMayGrow { get; init; }

    public IBlockStorage File { get; } = new NoStorage();

    public string? WriteErrorReason => null;

    public RequestEpochs Epochs { get; } = new();

    /// <summary>Discards, writes of zeroes and looks at the map, in the order in which they came. Read while no request runs.</summary>
    public List<(string What, long Offset, long Length, ZeroFlags Flags)> Done { get; } = [];

    /// <summary>The number of requests after which they wait for <see cref="Release"/>. Set on the home loop.</summary>
    public int HoldFrom { get; set; } = int.MaxValue;

    /// <summary>How many have come. Any thread.</summary>
    public int Came => System.Threading.Volatile.Read(ref _came);

    /// <summary>The result of a request, by its number; null for success.</summary>
    public Func<int, int>? Result { get; set; }

    private int _came;

    /// <summary>Requests that are held go on. Home loop.</summary>
    public void Release()
    {
        HoldFrom = int.MaxValue;
        _released.WakeAll();
    }

    public bool TryMapRead(long offset, int length, out FileExtent extent)
    {
        extent = default;
        return false;
    }

    public bool TryMapZeroes(long offset, int length) => false;

    public bool TryMapWrite(long offset, int length, out FileExtent extent) => TryMapRead(offset, length, out extent);

    public void NoteDirectWrite()
    {
        // There are none.
    }

    public LoopTask<int> ReadAsync(long offset, NativeBuffer buffer) => new(0);

    public LoopTask<int> WriteAsync(long offset, NativeBuffer buffer, bool forceUnitAccess) =>
        NoteAsync("write", offset, buffer.Length, ZeroFlags.None);

    public LoopTask<int> WriteZeroesAsync(long offset, long length, ZeroFlags flags) => NoteAsync("zero", offset, length, flags);

    public LoopTask<int> DiscardAsync(long offset, long length) => NoteAsync("discard", offset, length, ZeroFlags.None);

    public LoopTask<int> FlushAsync() => NoteAsync("flush", 0, 0, ZeroFlags.None);

    public async LoopTask<DiskExtent> MapAsync(long offset, long length)
    {
        await NoteAsync("map", offset, length, ZeroFlags.None);
        return new DiskExtent(0, Math.Min(length, 65536), IsHole: (offset & 65536) != 0, IsZero: false, Depth: 1);
    }

    public LoopTask<int> PrefetchAsync(long offset, long length) => NoteAsync("prefetch", offset, length, ZeroFlags.None);

    public LoopTask<int> CloseAsync() => new(0);

    private async LoopTask<int> NoteAsync(string what, long offset, long length, ZeroFlags flags)
    {
        Done.Add((what, offset, length, flags));
        var number = ++_came;
        while (number >= HoldFrom)
            await _released.WaitAsync();
        return Result?.Invoke(number) ?? 0;
    }
}
