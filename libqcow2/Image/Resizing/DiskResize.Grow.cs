using System;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Resizing;

/// <summary>A larger disk.</summary>
internal sealed partial class DiskResize
{
    private async LoopTask<EditAnswer> GrowAsync(long size, ResizedBitmaps? bitmaps)
    {
        var before = _map.Size;
        var dataLength = Data.Length;
        var error = await GrowDataFileAsync(before, size);
        if (error == 0)
            error = await GrowL1Async(EntriesFor(size));
        if (error == 0)
        {
            // The parts that change the disk are to believe that it has its new end already.
            _map.Size = size;
            error = _context.IsRawDataFile ? await MapDataFileAsync(before, size) : await parts.Changes.ClearNewEndAsync(new GuestOffset(before), size - before);
            _map.Size = before;
        }

        if (error == 0)
            error = await Tables.CommitAsync();
        if (error == 0)
            error = await SwitchAsync(new ActiveTable(new HostOffset(_map.Tables.L1.HostOffset), _map.Tables.L1.Entries, size), bitmaps);
        if (error == 0)
            return EditAnswer.Done;
        if (_context.WriteError == 0 && _geometry.HasDataFile && !Data.HasFixedLength && Data.Length > dataLength)
            await Data.SetLengthAsync(dataLength);
        return EditAnswer.OfErrno(error, "cannot write it");
    }

    /// <summary>Gives the L1 table a place with room for more entries. The disk stays what it is.</summary>
    private async LoopTask<int> GrowL1Async(int entries)
    {
        var table = _map.Tables.L1;
        if (entries <= table.Entries)
            return 0;
        var (offset, bytes) = (table.HostOffset, (long)table.Entries * sizeof(ulong));
        var larger = new ulong[entries];
        Tables.ActiveL1().CopyTo(larger.AsSpan());
        var place = await Tables.WriteNewAsync(Snapshots.SnapshotParts.BytesOf(larger));
        if (place < 0)
            return (int)place;
        var error = await Tables.CommitAsync();
        if (error < 0)
        {
            if (_context.WriteError == 0)
                await Tables.ReleaseAsync(place, (long)entries * sizeof(ulong));
            return error;
        }

        error = await Tables.SwitchAsync(_context.HeaderBlock.SetActiveAsync(new ActiveTable(new HostOffset(place), entries, Header.Size)));
        if (error < 0)
            return error;
        Tables.Protect(place, (long)entries * sizeof(ulong));
        table.Grow(entries);
        table.MoveTo(place, isThere: true);
        Tables.Free(offset, bytes);
        return 0;
    }

    /// <summary>Makes an external data file as long as the disk. What a raw one has behind the former end becomes zeroes.</summary>
    private async LoopTask<int> GrowDataFileAsync(long before, long size)
    {
        if (!_geometry.HasDataFile)
            return 0;
        if (Data.HasFixedLength)
            return _context.IsRawDataFile ? await Data.ZeroAsync(before, size - before) : 0;
        var error = 0;
        if (_context.IsRawDataFile && Data.Length > before)
            error = await Data.SetLengthAsync(before);
        var end = Rounding.Up(size, Data.OffsetAlignment);
        return error == 0 && Data.Length != end && (_context.IsRawDataFile || Data.Length < end) ? await Data.SetLengthAsync(end) : error;
    }

    /// <summary>Who writes a raw data file without its image is to be seen: so entries say that all of it is there.</summary>
    private async LoopTask<int> MapDataFileAsync(long before, long size)
    {
        var tables = _map.Tables;
        var last = _geometry.ClusterOf(new GuestOffset(size - 1));
        var bitmap = _geometry.HasExtendedL2 ? L2Entry.EncodeBitmap(L2Entry.AllSubclusters, 0) : 0;
        for (var cluster = _geometry.ClusterOf(new GuestOffset(before)); cluster <= last;)
        {
            var key = tables.KeyOf(cluster);
            var slot = await tables.LoadForWriteAsync(key);
            if (slot < 0)
                return slot == SlicedTables.Absent ? -Interop.Errno.EIO : slot;
            for (; cluster <= last && tables.KeyOf(cluster) == key; cluster++)
            {
                var host = new HostOffset(_geometry.StartOf(cluster).Value);
                tables.Set(slot, cluster, new StoredL2Entry(L2Entry.EncodeData(host, copied: true), bitmap));
            }
        }

        return 0;
    }
}
