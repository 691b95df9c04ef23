using System;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Data;

/// <summary>
/// Reads compressed clusters: several inflate at once on helper threads, and a few inflated ones are kept for the
/// small reads that follow each other. A read of a whole cluster is inflated where it is wanted.
/// </summary>
internal sealed class CompressedClusters : IDisposable
{
    private const int MaximumCached = 32;
    private const long MaximumCachedBytes = 4 << 20;

    private readonly WaitQueue _inflated = new();
    private readonly ImageContext _context;
    private readonly Slot[] _slots;
    private long _clock;

    public CompressedClusters(ImageContext context)
    {
        _context = context;
        var count = (int)Math.Clamp(MaximumCachedBytes / context.Geometry.ClusterSize, 2, MaximumCached);
        _slots = new Slot[count];
        for (var i = 0; i < count; i++)
            _slots[i] = new Slot();
    }

    public long Hits { get; private set; }

    public long Misses { get; private set; }

    /// <summary>Reads part of a compressed cluster.</summary>
    /// <param name="host">where its data begins in the image file</param>
    /// <param name="length">as <see cref="L2Entry.CompressedLength"/></param>
    /// <param name="within">where the part begins in the cluster</param>
    /// <param name="buffer">the part</param>
    public LoopTask<int> ReadAsync(HostOffset host, int length, int within, NativeBuffer buffer)
    {
        var slot = Find(host.Value);
        if (slot is { Ready: true })
        {
            Hits++;
            slot.LastUse = ++_clock;
            slot.Content.Slice(within, buffer.Length).Span.CopyTo(buffer.Span);
            return new LoopTask<int>(0);
        }

        return slot is null && buffer.Length == _context.Geometry.ClusterSize
            ? InflateAsync(host, length, buffer)
            : ReadThroughCacheAsync(host, length, within, buffer);
    }

    /// <summary>The cluster is no longer in use: its place may hold something else from now on.</summary>
    public void Forget(HostOffset host)
    {
        var slot = Find(host.Value);
        if (slot is null)
            return;

        // Who waits for it has begun before it was freed, and still gets the old content.
        slot.Key = -1;
    }

    public void Dispose()
    {
        foreach (var slot in _slots)
        {
            if (!slot.Content.IsEmpty)
                LoopScheduler.Current.Buffers.Return(slot.Content);
            slot.Content = default;
            slot.Key = -1;
            slot.Ready = false;
        }
    }

    private async LoopTask<int> ReadThroughCacheAsync(HostOffset host, int length, int within, NativeBuffer buffer)
    {
        while (true)
        {
            var slot = Find(host.Value);
            if (slot is { Ready: true })
            {
                slot.LastUse = ++_clock;
                slot.Content.Slice(within, buffer.Length).Span.CopyTo(buffer.Span);
                return 0;
            }

            if (slot is null)
            {
                slot = TakeOldest();
                if (slot is not null)
                    return await FillAsync(slot, host, length, within, buffer);
            }

            // Being inflated for somebody else, or all slots are: wait for one to be done.
            await _inflated.WaitAsync();
        }
    }

    private async LoopTask<int> FillAsync(Slot slot, HostOffset host, int length, int within, NativeBuffer buffer)
    {
        if (slot.Content.IsEmpty)
            slot.Content = LoopScheduler.Current.Buffers.Rent(_context.Geometry.ClusterSize);
        slot.Key = host.Value;
        slot.Ready = false;
        slot.Busy = true;
        var error = await InflateAsync(host, length, slot.Content);
        slot.Busy = false;
        slot.Ready = error == 0 && slot.Key == host.Value;
        slot.LastUse = ++_clock;
        if (!slot.Ready)
            slot.Key = -1;
        if (error == 0)
            slot.Content.Slice(within, buffer.Length).Span.CopyTo(buffer.Span);
        _inflated.WakeAll();
        return error;
    }

    private async LoopTask<int> InflateAsync(HostOffset host, int length, NativeBuffer output)
    {
        Misses++;
        var pool = LoopScheduler.Current.Buffers;

        // Read whole sectors of the file, so that no bounce is needed; the descriptor counts them anyway.
        var unit = Math.Max(512, _context.File.OffsetAlignment);
        var start = Rounding.Down(host.Value, unit);
        var end = Rounding.Up(host.Value + length, unit);
        var sectors = pool.Rent(checked((int)(end - start)));
        int error;
        try
        {
            error = await _context.File.ReadAsync(start, sectors);
        }
        catch (InvariantBreach breach)
        {
            error = _context.Stop(breach);
        }

        if (error == 0)
        {
            var work = InflateWork.Rent();
            work.Type = _context.Header.CompressionType;
            work.Input = sectors.Slice((int)(host.Value - start), length);
            work.Output = output;
            error = await LoopScheduler.Current.OffloadAsync(work);
            work.Recycle();
        }

        pool.Return(sectors);
        return error;
    }

    private Slot? Find(long key)
    {
        foreach (var slot in _slots)
        {
            if (slot.Key == key)
                return slot;
        }

        return null;
    }

    private Slot? TakeOldest()
    {
        Slot? oldest = null;
        foreach (var slot in _slots)
        {
            if (!slot.Busy && (oldest is null || slot.LastUse < oldest.LastUse))
                oldest = slot;
        }

        return oldest;
    }

    private sealed class Slot
    {
        public long Key { get; set; } = -1;

        public NativeBuffer Content { get; set; }

        public long LastUse { get; set; }

        public bool Ready { get; set; }

        public bool Busy { get; set; }
    }

    private sealed class InflateWork : IOffloadWork
    {
        [ThreadStatic]
        private static InflateWork? s_free;

        private InflateWork? _next;

        public CompressionType Type { get; set; }

        public NativeBuffer Input { get; set; }

        public NativeBuffer Output { get; set; }

        public static InflateWork Rent()
        {
            var work = s_free;
            if (work is null)
                return new InflateWork();
            s_free = work._next;
            return work;
        }

        public void Recycle()
        {
            _next = s_free;
            s_free = this;
        }

        public int Execute() => Inflater.Run(Type, Input, Output);
    }
}
