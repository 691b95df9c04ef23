using System;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Change;

/// <summary>Zero writes and discards: whole subclusters by their entries, the rest by writing zeroes.</summary>
internal sealed class ZeroWrites(ChangeParts parts, DataWrites data)
{
    /// <summary>Slices whose entries one turn changes before others have theirs.</summary>
    public const int SlicesPerTurn = 256;

    private const int ZeroPieceBytes = 256 * 1024;

    private readonly ImageContext _context = parts.Context;
    private readonly Geometry _geometry = parts.Context.Geometry;

    /// <summary>
    /// What version 2 can say of a cluster that reads as zeroes: only that nothing is there, which is true only
    /// without a backing file.
    /// </summary>
    public bool CanZeroByEntry => _geometry.Version >= 3 || parts.Map.Backing is null;

    /// <summary>Frees what lies wholly inside the range.</summary>
    public async LoopTask<int> DiscardAsync(GuestOffset offset, long length)
    {
        if (_context.IsRawDataFile)
            return await DiscardRawAsync(offset, length);
        var (start, end) = WholeSubclusters(offset, length);
        if (start >= end)
            return 0;

        // A compressed cluster goes as a whole or stays.
        var (from, to) = await WithoutCompressedEdgesAsync(start, end);
        return from.Value < 0 ? (int)from.Value : from < to ? await ZeroEntriesAsync(from, to, unmap: true) : 0;
    }

    public async LoopTask<int> ZeroAsync(GuestOffset offset, long length, ZeroFlags flags)
    {
        var unmap = (flags & ZeroFlags.MayUnmap) != 0 && parts.Options.Discard == DiscardMode.Unmap;
        var byEntry = _geometry.Version >= 3 || (parts.Map.Backing is null && unmap);
        var fast = (flags & ZeroFlags.Fast) != 0;
        if (_context.IsRawDataFile)
            return await ZeroRawAsync(offset, length, unmap, fast);
        if (!byEntry)
            return fast ? -Errno.EOPNOTSUPP : await WriteZeroesAsync(offset, length);
        return await ZeroByEntryAsync(offset, length, unmap, fast);
    }

    /// <summary>
    /// A range that is about to become the end of the disk: whatever entries, or a longer backing file, say of it, it reads as zeroes.
    /// </summary>
    public LoopTask<int> ClearNewEndAsync(GuestOffset offset, long length) => ZeroByEntryAsync(offset, length, unmap: true, fast: false);

    private async LoopTask<int> ZeroByEntryAsync(GuestOffset offset, long length, bool unmap, bool fast)
    {
        var end = offset + length;
        var (from, to) = WholeSubclusters(offset, length);
        if (from < to)
            (from, to) = await WithoutCompressedEdgesAsync(from, to);
        if (from.Value < 0)
            return (int)from.Value;
        var isWhole = from < to;

        // The edges first: a fast request that cannot be met must not have changed anything.
        var error = await ZeroEdgeAsync(offset, isWhole ? from - offset : length, fast);
        if (error == 0 && isWhole)
            error = await ZeroEdgeAsync(to, end - to, fast);
        return error < 0 || !isWhole ? error : await ZeroEntriesAsync(from, to, unmap);
    }

    /// <summary>
    /// The subclusters wholly inside the range (clusters, without extended L2 entries); the last one of the disk counts as whole if
    /// the range reaches the end.
    /// </summary>
    private (GuestOffset Start, GuestOffset End) WholeSubclusters(GuestOffset offset, long length)
    {
        var end = offset + length;
        var stop = end.Value == parts.Map.Size ? end : end.RoundDown(_geometry.SubclusterSize);
        return (offset.RoundUp(_geometry.SubclusterSize), stop);
    }

    /// <summary>The range without the parts of compressed clusters at its ends: of those nothing is said by their entries.</summary>
    /// <returns>the range, perhaps empty; a negative errno in its start</returns>
    private async LoopTask<(GuestOffset Start, GuestOffset End)> WithoutCompressedEdgesAsync(GuestOffset start, GuestOffset end)
    {
        if (!_geometry.HasExtendedL2)
            return (start, end);
        if (_geometry.Within(start) != 0)
        {
            var compressed = await IsCompressedAsync(start);
            if (compressed < 0)
                return (new GuestOffset(compressed), default);
            if (compressed > 0)
                start = start.RoundUp(_geometry.ClusterSize);
        }

        if (start < end && _geometry.Within(end) != 0 && end.Value != parts.Map.Size)
        {
            var compressed = await IsCompressedAsync(end - 1);
            if (compressed < 0)
                return (new GuestOffset(compressed), default);
            if (compressed > 0)
                end = end.RoundDown(_geometry.ClusterSize);
        }

        return (start, end);
    }

    /// <returns>1 or 0, or a negative errno</returns>
    private async LoopTask<int> IsCompressedAsync(GuestOffset offset)
    {
        var tables = parts.Map.Tables;
        var slot = await tables.LoadAsync(tables.KeyOf(_geometry.ClusterOf(offset)));
        if (slot is < 0 and not SlicedTables.Absent)
            return slot;
        return parts.Map.At(slot, offset, 1).Kind == L2Kind.Compressed ? 1 : 0;
    }

    /// <summary>Zeroes a piece that covers no whole subcluster (but may touch two).</summary>
    private async LoopTask<int> ZeroEdgeAsync(GuestOffset offset, long length, bool fast)
    {
        while (length > 0)
        {
            var extent = await parts.Map.MapAsync(offset, length);
            if (extent.Error < 0)
                return extent.Error;
            if (!extent.IsZero)
            {
                if (fast)
                    return -Errno.EOPNOTSUPP;
                var error = await WriteZeroesAsync(offset, extent.Length);
                if (error < 0)
                    return error;
            }

            offset += extent.Length;
            length -= extent.Length;
        }

        return 0;
    }

    private async LoopTask<int> WriteZeroesAsync(GuestOffset offset, long length)
    {
        var pool = LoopScheduler.Current.Buffers;
        var zeroes = pool.Rent((int)Math.Min(length, ZeroPieceBytes));
        zeroes.Clear();
        var error = 0;
        while (length > 0 && error == 0)
        {
            var piece = zeroes.Slice(0, (int)Math.Min(length, zeroes.Length));
            error = await data.WriteAsync(offset, piece);
            offset += piece.Length;
            length -= piece.Length;
        }

        pool.Return(zeroes);
        return error;
    }

    /// <summary>Whole subclusters; only the end of the disk may be within one.</summary>
    private async LoopTask<int> ZeroEntriesAsync(GuestOffset start, GuestOffset end, bool unmap)
    {
        var change = await parts.Turns.BeginChangeAsync();
        var tables = parts.Map.Tables;
        var error = 0;
        var slices = 0;
        while (start < end && error == 0)
        {
            error = await parts.MakeRoomInLogAsync();
            if (error < 0)
                break;
            var stop = GuestOffset.Min(end, start + WithoutTable(start));
            if (stop == start)
            {
                var first = _geometry.ClusterOf(start);
                stop = GuestOffset.Min(end, _geometry.StartOf(tables.SliceEnd(first)));
                var count = _geometry.ClusterOf(stop + _geometry.ClusterMask) - first;
                if (!parts.Locks.TryEnter(first, count))
                {
                    await parts.Locks.WaitForReleaseAsync();
                    continue;
                }

                try
                {
                    error = await ZeroInSliceAsync(start, stop, unmap);
                }
                catch (InvariantBreach breach)
                {
                    error = _context.Stop(breach);
                }

                parts.Locks.Exit(first, count);
            }

            start = stop;
            if (++slices % SlicesPerTurn != 0)
                continue;

            // Others want to be served too, and what waits for older requests must not wait for all of this one.
            parts.Turns.EndChange(change);
            await LoopScheduler.Current.DelayAsync(0);
            change = await parts.Turns.BeginChangeAsync();
        }

        parts.Turns.EndChange(change);
        return error;
    }

    /// <summary>
    /// How much of the disk from here on reads as zeroes as no L2 table covers it and nothing is below; 0 if that is not so.
    /// Most of a huge disk is skipped by whole tables.
    /// </summary>
    private long WithoutTable(GuestOffset offset)
    {
        if (parts.Map.HasBackingAt(offset) || !parts.Map.Tables.HasNoTable(_geometry.ClusterOf(offset)))
            return 0;
        var bits = _geometry.L2Bits + _geometry.ClusterBits;
        return (((offset.Value >> bits) + 1) << bits) - offset.Value;
    }

    private async LoopTask<int> ZeroInSliceAsync(GuestOffset start, GuestOffset end, bool unmap)
    {
        var tables = parts.Map.Tables;
        var first = _geometry.ClusterOf(start);
        var last = _geometry.ClusterOf(end - 1);
        var key = tables.KeyOf(first);
        var slot = await tables.LoadAsync(key);

        // Nothing there and nothing below: it reads as zeroes already.
        if (slot == SlicedTables.Absent && !parts.Map.HasBackingAt(start))
            return 0;
        if (slot is < 0 and not SlicedTables.Absent)
            return slot;
        slot = await tables.LoadForWriteAsync(key);
        while (slot >= 0 && _context.Log is { IsNearlyFull: true })
        {
            // Others have filled it while this waited.
            if (await parts.Committer.FlushAsync() is var full and < 0)
                return full;
            slot = await tables.LoadForWriteAsync(key);
        }

        if (slot < 0)
            return slot == SlicedTables.Absent ? -Errno.EIO : slot;
        if (_context.WriteError != 0)
            return _context.WriteError;
        parts.RequireMayChange(first, last - first + 1);
        for (var cluster = first; cluster <= last; cluster++)
        {
            var stored = tables.Stored(slot, cluster);
            var old = L2Entry.Decode(stored, _geometry);
            var at = GuestOffset.Max(start, _geometry.StartOf(cluster));
            if (old.Kind == L2Kind.Invalid || tables.IsMisplaced(old, cluster))
                return parts.Map.Invalid(at, parts.Map.At(slot, at, 1));
            var hasBacking = parts.Map.HasBackingAt(_geometry.StartOf(cluster));
            var changed = _geometry.HasExtendedL2
                ? ZeroedEntry.OfSubclusters(old, stored, Subclusters(cluster, start, end), hasBacking, unmap)
                : new StoredL2Entry(ZeroedEntry.OfCluster(old, stored.Descriptor, hasBacking, unmap, _geometry));
            if (changed == stored)
                continue;
            tables.Set(slot, cluster, changed);
            if (L2Entry.Decode(changed, _geometry) is var now && (now.Host != old.Host || (old.HasHost && !now.HasHost)))
                parts.Free(old);
        }

        // The clusters of a data file are nobody else's, and nothing is written there again before the lock is released.
        if (unmap && _geometry.HasDataFile)
            await PunchAsync(start, end);
        return 0;
    }

    /// <summary>The subclusters of a cluster that a range covers: bit n for subcluster n.</summary>
    private uint Subclusters(GuestCluster cluster, GuestOffset start, GuestOffset end)
    {
        var clusterStart = _geometry.StartOf(cluster);
        var from = (int)(Math.Max(start - clusterStart, 0) >> _geometry.SubclusterBits);
        var to = (int)(Math.Min(Rounding.Up(end - clusterStart, _geometry.SubclusterSize), _geometry.ClusterSize)
            >> _geometry.SubclusterBits);
        return (uint)(((1UL << to) - 1) & ~((1UL << from) - 1));
    }

    /// <summary>Gives space of the data file back; that it cannot be is no error, as the entries say that there are zeroes.</summary>
    private async LoopTask<int> PunchAsync(GuestOffset start, GuestOffset end)
    {
        var error = await _context.Data.PunchAsync(start.Value, end - start);
        if (error is < 0 and not -Errno.EOPNOTSUPP)
            _context.Report?.Invoke($"cannot punch a hole into {_context.Data.Path}: {Errno.Text(error)}");
        return 0;
    }

    /// <summary>A raw data file is what the guest sees, whatever the entries say: it is what is zeroed.</summary>
    private async LoopTask<int> ZeroRawAsync(GuestOffset offset, long length, bool unmap, bool fast)
    {
        var alignment = parts.Data.Alignment;
        var start = offset.RoundUp(alignment);
        var end = (offset + length).RoundDown(alignment);
        var error = fast && (start > end || start != offset || end != offset + length) ? -Errno.EOPNOTSUPP : 0;
        if (error == 0 && start >= end)
            return await WriteZeroesAsync(offset, length);
        if (error == 0)
            error = await ZeroRawSectorsAsync(start, end, unmap, fast);
        if (error == 0 && start > offset)
            error = await WriteZeroesAsync(offset, start - offset);
        return error == 0 && offset + length > end ? await WriteZeroesAsync(end, offset + length - end) : error;
    }

    private async LoopTask<int> ZeroRawSectorsAsync(GuestOffset start, GuestOffset end, bool unmap, bool fast)
    {
        var change = await parts.Turns.BeginChangeAsync();
        var error = unmap ? await _context.Data.PunchAsync(start.Value, end - start) : -Errno.EOPNOTSUPP;
        if (error == -Errno.EOPNOTSUPP && !fast)
            error = await _context.Data.ZeroAsync(start.Value, end - start);
        _context.NoteData();
        parts.Turns.EndChange(change);
        return error;
    }

    private async LoopTask<int> DiscardRawAsync(GuestOffset offset, long length)
    {
        var start = offset.RoundUp(parts.Data.Alignment);
        var end = (offset + length).RoundDown(parts.Data.Alignment);
        if (start >= end)
            return 0;
        var error = await ZeroRawSectorsAsync(start, end, unmap: true, fast: true);
        return error == -Errno.EOPNOTSUPP ? 0 : error;
    }
}
