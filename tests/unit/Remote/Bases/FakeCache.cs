using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Buffers;
using Qcow2Blk.Remote;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Bases;

/// <summary>Chunks in memory.</summary>
internal sealed class FakeCache(int chunkBytes) : IChunkCache
{
    private readonly HashSet<long> _claims = [];

    public Dictionary<long, byte[]> Stored { get; } = [];

    public HashSet<long> Pinned { get; } = [];

    public bool IsDisposed { get; private set; }

    /// <summary>Whether it keeps what it is given.</summary>
    public bool Keeps { get; set; } = true;

    public long MostPinnedByTrace { get; set; } = long.MaxValue;

    public int Claims => _claims.Count;

    public FileStorage File => throw new NotSupportedException("nothing is read straight from memory");

    public int ChunkBytes { get; } = chunkBytes;

    public long StoredBytes => Stored.Values.Sum(chunk => chunk.Length);

    public bool IsThere(long offset, int length, out ulong mark)
    {
        mark = 0;
        return false;
    }

    public bool IsStill(long offset, int length, ulong mark) => false;

    public bool IsStored(long chunk) => Stored.ContainsKey(chunk);

    public async LoopTask<int> ReadAsync(long offset, NativeBuffer buffer)
    {
        Assert.False(IsDisposed);
        await LoopScheduler.Current.DelayAsync(1);
        if (!Stored.TryGetValue(offset / ChunkBytes, out var chunk))
            return 0;
        chunk.AsSpan((int)(offset % ChunkBytes), buffer.Length).CopyTo(buffer.Span);
        return 1;
    }

    public LoopTask<int> ClaimAsync(long chunk)
    {
        Assert.False(IsDisposed);
        if (Stored.ContainsKey(chunk))
            return new LoopTask<int>(0);
        Assert.True(_claims.Add(chunk), "a chunk is claimed once at a time");
        return new LoopTask<int>(1);
    }

    public async LoopTask<int> StoreAsync(long chunk, NativeBuffer bytes, bool pin)
    {
        Assert.False(IsDisposed);
        Assert.Contains(chunk, _claims);
        await LoopScheduler.Current.DelayAsync(1);
        _claims.Remove(chunk);
        if (Keeps)
            Stored[chunk] = bytes.Span.ToArray();
        if (pin)
            Pinned.Add(chunk);
        return 0;
    }

    public void Abandon(long chunk) => Assert.True(_claims.Remove(chunk));

    public void Dispose()
    {
        Assert.Empty(_claims);
        IsDisposed = true;
    }
}
