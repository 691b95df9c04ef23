using System;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Opening;

/// <summary>Zero writes and discards: whole clusters by their entries, the rest by writing zeroes.</summary>
internal sealed partial class Qcow2Image
{
    private const int SlicesPerTurn = 256;

    private const int ZeroPieceBytes = 256 * 1024;

    /// <summary>
    /// Bytes of the disk that a change of a long range covers before others have their turn: a power of two, whole slices.
    /// </summary>
    public long TurnBytes => (long)SlicesPerTurn << (_geometry.SliceBits + _geometry.ClusterBits);

    /// <summary>
    /// What version 2 can say of a cluster that reads as zeroes: only that nothing is there, which is true only
    /// without a backing file.
    /// </summary>
    private bool CanZeroByEntry => _geometry.Version >= 3 || _backing is null;

    public async LoopTask<int> DiscardAsync(long offset, long length)
    {
        if (RefuseChange(offset, length) is var refusal and < 0)
            return refusal;

        // Version 2 over a backing file has no way to drop a cluster without showing what is below it.
        if (_options.Discard == DiscardMode.Ignore || !CanZeroByEntry)
            return 0;
        var (first, count) = WholeClusters(offset, length);
        if (count <= 0)
            return 0;
        int error;
        _changes.Begin();
        try
        {
            error = await PrepareChangeAsync(offset, length);
            if (error == 0)
            {
                error = await ZeroClustersAsync(first, count, unmap: true);
                if (error == -Errno.ENOSPC && await ReclaimAsync())
                    error = await ZeroClustersAsync(first, count, unmap: true);
            }

            _committer!.WriteBehind();
        }
        catch (InvariantBreach breach)
        {
            error = _context.Stop(breach);
        }

        _changes.End();
        return error;
    }

    public async LoopTask<int> WriteZeroesAsync(long offset, long length, ZeroFlags flags)
    {
        if (RefuseChange(offset, length) is var refusal and < 0)
            return refusal;
        int error;
        _changes.Begin();
        try
        {
            error = await PrepareChangeAsync(offset, length);
            if (error == 0)
            {
                error = await ZeroRangeAsync(offset, length, flags);
                if (error == -Errno.ENOSPC && await ReclaimAsync())
                    error = await ZeroRangeAsync(offset, length, flags);
            }

            _committer!.WriteBehind();
        }
        catch (InvariantBreach breach)
        {
            error = _context.Stop(breach);
        }

        _changes.End();
        return error == 0 && (flags & ZeroFlags.ForceUnitAccess) != 0 ? await FlushAsync() : error;
    }

    private async LoopTask<int> ZeroRangeAsync(long offset, long length, ZeroFlags flags)
    {
        var unmap = (flags & ZeroFlags.MayUnmap) != 0 && _options.Discard == DiscardMode.Unmap;
        var byEntry = _geometry.Version >= 3 || (_backing is null && unmap);
        var fast = (flags & ZeroFlags.Fast) != 0;
        if (!byEntry)
            return fast ? -Errno.EOPNOTSUPP : await WriteZeroDataAsync(offset, length);
        var (first, count) = WholeClusters(offset, length);
        var start = first << _geometry.ClusterBits;
        var end = offset + length;
        var wholeEnd = Math.Min(end, (first + count) << _geometry.ClusterBits);
        var headLength = count > 0 ? start - offset : length;
        var tailLength = count > 0 ? end - wholeEnd : 0;

        // The edges first: a fast request that cannot be met must not have changed anything.
        var error = await ZeroEdgeAsync(offset, headLength, fast);
        if (error == 0)
            error = await ZeroEdgeAsync(wholeEnd, tailLength, fast);
        return error < 0 || count <= 0 ? error : await ZeroClustersAsync(first, count, unmap);
    }

    /// <summary>The clusters wholly inside the range; the last one of the disk counts as whole if the range reaches the end.</summary>
    private (long First, long Count) WholeClusters(long offset, long length)
    {
        var first = (offset + _geometry.ClusterMask) >> _geometry.ClusterBits;
        var end = offset + length;
        var last = end == Size ? (end + _geometry.ClusterMask) >> _geometry.ClusterBits : end >> _geometry.ClusterBits;
        return (first, last - first);
    }

    /// <summary>Zeroes a piece that covers no whole cluster (but may touch two).</summary>
    private async LoopTask<int> ZeroEdgeAsync(long offset, long length, bool fast)
    {
        while (length > 0)
        {
            var extent = await MapAsync(offset, length);
            if (extent.Error < 0)
                return extent.Error;
            if (!extent.IsZero)
            {
                if (fast)
                    return -Errno.EOPNOTSUPP;
                var error = await WriteZeroDataAsync(offset, extent.Length);
                if (error < 0)
                    return error;
            }

            offset += extent.Length;
            length -= extent.Length;
        }

        return 0;
    }

    private async LoopTask<int> WriteZeroDataAsync(long offset, long length)
    {
        var pool = LoopScheduler.Current.Buffers;
        var zeroes = pool.Rent((int)Math.Min(length, ZeroPieceBytes));
        zeroes.Clear();
        var error = 0;
        while (length > 0 && error == 0)
        {
            var piece = zeroes.Slice(0, (int)Math.Min(length, zeroes.Length));
            error = await WriteAnywhereAsync(offset, piece);
            offset += piece.Length;
            length -= piece.Length;
        }

        pool.Return(zeroes);
        return error;
    }

    private async LoopTask<int> ZeroClustersAsync(long first, long count, bool unmap)
    {
        var change = await _turns.BeginChangeAsync();
        var error = 0;
        var slices = 0;
        while (count > 0 && error == 0)
        {
            if (_log is { IsNearlyFull: true } && (error = await _committer!.FlushAsync()) < 0)
                break;
            var here = Math.Min(count, WithoutTable(first));
            if (here == 0)
            {
                var sliceEnd = (_tables.KeyOf(first) + 1) << _geometry.SliceBits;
                here = Math.Min(count, sliceEnd - first);
                if (!_locks.TryEnter(first, here))
                {
                    await _locks.WaitForReleaseAsync();
                    continue;
                }

                try
                {
                    error = await ZeroInSliceAsync(first, (int)here, unmap);
                }
                catch (InvariantBreach breach)
                {
                    error = _context.Stop(breach);
                }

                _locks.Exit(first, here);
            }

            first += here;
            count -= here;
            if (++slices % SlicesPerTurn != 0)
                continue;

            // Others want to be served too, and what waits for older requests must not wait for all of this one.
            _turns.EndChange(change);
            await LoopScheduler.Current.DelayAsync(0);
            change = await _turns.BeginChangeAsync();
        }

        _turns.EndChange(change);
        return error;
    }

    /// <summary>
    /// How many clusters from this one on read as zeroes as no L2 table covers them and nothing is below; 0 if that is not so.
    /// Most of a huge disk is skipped by whole tables.
    /// </summary>
    private long WithoutTable(long cluster)
    {
        if (HasBackingAt(cluster) || !_tables.HasNoTable(cluster))
            return 0;
        return (((cluster >> _geometry.L2Bits) + 1) << _geometry.L2Bits) - cluster;
    }

    private async LoopTask<int> ZeroInSliceAsync(long first, int count, bool unmap)
    {
        var key = _tables.KeyOf(first);
        var slot = await _tables.LoadAsync(key);

        // Nothing there and nothing below: it reads as zeroes already.
        if (slot == SlicedTables.Absent && !HasBackingAt(first))
            return 0;
        if (slot is < 0 and not SlicedTables.Absent)
            return slot;
        slot = await _tables.LoadForWriteAsync(key);
        while (slot >= 0 && _log is { IsNearlyFull: true })
        {
            // Others have filled it while this waited.
            if (await _committer!.FlushAsync() is var full and < 0)
                return full;
            slot = await _tables.LoadForWriteAsync(key);
        }

        if (slot < 0)
            return slot == SlicedTables.Absent ? -Errno.EIO : slot;
        if (_context.WriteError != 0)
            return _context.WriteError;
        RequireMayChange(first, count);
        for (var cluster = first; cluster < first + count; cluster++)
        {
            var raw = _tables.Raw(slot, cluster);
            var old = L2Entry.Decode(raw, _geometry);
            if (old.Kind == L2Kind.Invalid)
                return InvalidEntry(cluster << _geometry.ClusterBits, raw);
            var changed = ZeroedEntry(old, raw, cluster, unmap);
            if (changed == raw)
                continue;
            _tables.Set(slot, cluster, changed);
            if (L2Entry.Decode(changed, _geometry).Host != old.Host)
                FreeOld(old);
        }

        return 0;
    }

    /// <summary>The entry under which a cluster reads as zeroes.</summary>
    private ulong ZeroedEntry(L2Entry old, ulong raw, long cluster, bool unmap)
    {
        var hole = _geometry.Version >= 3 ? L2Entry.EncodeZero() : 0;
        return old.Kind switch
        {
            L2Kind.Unallocated => HasBackingAt(cluster) ? hole : raw,
            L2Kind.Zero => raw,
            L2Kind.ZeroAllocated when !unmap || !old.Copied => raw,
            L2Kind.Data when old.Copied && !unmap => L2Entry.EncodeZeroAllocated(old.Host, copied: true),
            _ => hole,
        };
    }

    private bool HasBackingAt(long cluster) =>
        _backing is not null && (cluster << _geometry.ClusterBits) < _backing.Size;
}
