using System;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Snapshots;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Resizing;

/// <summary>A smaller disk.</summary>
internal sealed partial class DiskResize
{
    private async LoopTask<EditAnswer> ShrinkAsync(long size, ResizedBitmaps? bitmaps)
    {
        var before = Tables.ActiveL1();
        var clusters = new GuestCluster((size + _geometry.ClusterMask) >> _geometry.ClusterBits);
        var (cutTable, cutEntry) = (_geometry.L1Index(clusters), _geometry.L2Index(clusters));
        var l1 = before[..EntriesFor(size)];
        long copy = 0, place = 0;

        // The table that the end of the disk is in goes on without what is behind it.
        var isCut = cutEntry > 0 && !L1Entry.Decode(before[cutTable]).IsEmpty;
        if (isCut)
        {
            copy = await CopyCutTableAsync(cutTable, L1Entry.Decode(before[cutTable]), cutEntry);
            if (copy > 0)
                l1[cutTable] = L1Entry.Encode(new HostOffset(copy), copied: true);
        }

        if (copy >= 0)
            place = await Tables.WriteNewAsync(SnapshotParts.BytesOf(l1));
        var error = (int)Math.Min(Math.Min(copy, place), 0);
        if (error == 0)
            error = await Tables.CommitAsync();
        if (error == 0)
            error = await SwitchAsync(new ActiveTable(new HostOffset(place), l1.Length, size), bitmaps);
        if (error < 0)
        {
            if (_context.WriteError == 0)
                await TakeBackAsync(copy, place, l1.Length);
            return EditAnswer.OfErrno(error, "cannot write it");
        }

        Tables.Protect(place, (long)l1.Length * sizeof(ulong));
        if (isCut)
            Tables.Protect(copy, _geometry.ClusterSize);
        Tables.Free(_map.Tables.L1.HostOffset, (long)before.Length * sizeof(ulong));
        return await DropAsync(before[cutTable..], isCut ? cutEntry : 0, size);
    }

    /// <returns>its offset, or a negative errno</returns>
    /// <exception cref="ImageFormatException">there is no table where it should be</exception>
    private async LoopTask<long> CopyCutTableAsync(int index, L1Entry table, int cutEntry)
    {
        if (!table.IsAligned(_geometry) || table.Offset.Value > _context.File.Length - _geometry.ClusterSize)
        {
            throw new ImageFormatException(_context.File.Path, "l1_table",
                $"L1 entry {index} points to an L2 table at {table.Offset}, which is not one");
        }

        var pool = LoopScheduler.Current.Buffers;
        var buffer = pool.Rent(_geometry.ClusterSize);
        var error = await _context.File.ReadAsync(table.Offset.Value, buffer);
        var content = buffer.Span.ToArray();
        pool.Return(buffer);
        content.AsSpan(cutEntry * _geometry.L2EntryBytes).Clear();
        return error < 0 ? error : await Tables.WriteNewAsync(content);
    }

    /// <summary>No header names what was written.</summary>
    private async LoopTask<int> TakeBackAsync(long copy, long place, int entries)
    {
        if (copy > 0)
            await Tables.ReleaseAsync(copy, _geometry.ClusterSize);
        if (place > 0)
            await Tables.ReleaseAsync(place, (long)entries * sizeof(ulong));
        return 0;
    }

    /// <summary>The disk has its new size: what is behind its end is given up, and what goes wrong with that leaks.</summary>
    /// <param name="cut">L1 entries whose tables are not wholly kept</param>
    /// <param name="firstEntry">of the first table, the first entry that is not kept</param>
    /// <param name="size">bytes of the disk</param>
    private async LoopTask<EditAnswer> DropAsync(ulong[] cut, int firstEntry, long size)
    {
        foreach (var raw in cut)
        {
            // What it reaches is given up as data is; the tables of the active state are protected from that.
            if (L1Entry.Decode(raw) is { IsEmpty: false } table && _context.Metadata!.Contains(table.Offset))
                _context.Metadata.Remove(table.Offset);
        }

        var walk = Tables.NewWalk(WalkKind.Drop);
        walk.FirstEntry = firstEntry;
        var error = await walk.RunAsync(cut);
        if (error == 0)
            error = await parts.CommitAllAsync();
        if (error == 0)
            error = await parts.Allocator.CutFreeEndAsync();
        if (error < 0)
            return EditAnswer.Done with { Note = $"clusters leak: {walk.Refusal ?? Errno.Text(error)}" };
        var end = Rounding.Up(size, Data.OffsetAlignment);
        if (_geometry.HasDataFile && !Data.HasFixedLength && Data.Length > end)
            error = await Data.SetLengthAsync(end);
        return error == 0 ? EditAnswer.Done
            : EditAnswer.Done with { Note = $"{Data.Path} keeps its length: {Errno.Text(error)}" };
    }
}
