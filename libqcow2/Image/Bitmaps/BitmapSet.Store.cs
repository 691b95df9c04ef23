using System;
using System.Collections.Generic;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Bitmaps;

/// <summary>What is on disk before the first change, and after the last.</summary>
internal sealed partial class BitmapSet
{
    /// <summary>Bytes of bitmap data that are written at once.</summary>
    private const int PieceBytes = 256 * 1024;

    /// <summary>
    /// Before the header says that bitmaps are kept: those that are not are marked inconsistent. They lose their auto flag, so that
    /// nobody takes them for the others later.
    /// </summary>
    public LoopTask<int> DisownAsync() =>
        FlagAsync(entry => !entry.Flags.HasFlag(BitmapFlags.Auto) || IsKept(entry) ? entry.Flags
            : _kept.Count == 0 ? entry.Flags | BitmapFlags.InUse
            : (entry.Flags | BitmapFlags.InUse) & ~BitmapFlags.Auto);

    /// <summary>
    /// Before the first change, and after the header says that bitmaps are kept: marks them as in use. The other way round, a power
    /// cut in between would leave marks that nobody knows the meaning of.
    /// </summary>
    public async LoopTask<int> MarkAsync()
    {
        var error = await FlagAsync(entry => IsKept(entry) ? entry.Flags | BitmapFlags.InUse : entry.Flags);
        _isMarked |= error == 0 && _kept.Count > 0;
        return error;
    }

    /// <summary>
    /// Writes the bits as they are, then takes the in-use marks away. Nothing is written to the disk meanwhile. Each sector holds a
    /// superset of what was written, before and after, so it may end anywhere.
    /// </summary>
    public async LoopTask<int> StoreAsync()
    {
        if (!NeedsStore)
            return 0;
        foreach (var bitmap in _kept)
        {
            if ((bitmap.IsOpened || _isRecovered) && await WriteExactAsync(bitmap) is var error and < 0)
                return error;
        }

        if (await _space.SyncAsync() is var unsynced and < 0)
            return unsynced;
        if (await FlagAsync(entry => IsKept(entry) ? entry.Flags & ~BitmapFlags.InUse : entry.Flags) is var unmarked and < 0)
            return unmarked;
        foreach (var bitmap in _kept)
            bitmap.ShutAll();
        _isMarked = _isRecovered = false;
        return 0;
    }

    /// <summary>Writes table and data of a bitmap to new clusters. Nothing points to the table yet.</summary>
    /// <param name="stored">what is to be made: its entries and its place are set</param>
    /// <param name="bits">what it is to hold; null for all 0</param>
    /// <returns>0, or a negative errno: then nothing is taken</returns>
    public async LoopTask<int> WriteNewAsync(StoredBitmap stored, DirtyBitmap? bits)
    {
        var taken = new List<(long Offset, long Clusters)>();
        var error = await WriteNewAsync(stored, bits, taken);
        if (error < 0)
        {
            foreach (var (offset, clusters) in taken)
                _space.Free(offset, clusters);
        }

        return error;
    }

    /// <summary>Gives up the clusters of a bitmap that no directory names any more.</summary>
    public void Free(StoredBitmap stored)
    {
        for (var index = 0; index < stored.Clusters; index++)
        {
            if (BitmapTableEntry.OffsetOf(stored[index]) is not 0 and var offset)
                _space.Free(offset, 1);
        }

        _space.Free(stored.TableOffset.Value, TableClusters(stored));
    }

    private async LoopTask<int> WriteNewAsync(StoredBitmap stored, DirtyBitmap? bits, List<(long Offset, long Clusters)> taken)
    {
        for (var index = 0; index < stored.Clusters; index++)
        {
            stored[index] = bits is null ? BitmapTableEntry.AllZeroes : FormOf(bits, index);
            if (BitmapTableEntry.OffsetOf(stored[index]) == 0)
                continue;
            var offset = await _space.AllocateAsync(1);
            if (offset < 0)
                return (int)offset;
            taken.Add((offset, 1));
            stored[index] = (ulong)offset;
            if (await WriteDataAsync(bits!, index, offset) is var failed and < 0)
                return failed;
        }

        var table = await _space.AllocateAsync(TableClusters(stored));
        if (table < 0)
            return (int)table;
        taken.Add((table, TableClusters(stored)));
        stored.TableOffset = new HostOffset(table);
        return await stored.WriteTableAsync(_space.File, 0, stored.Clusters, _space.WriteUnit);
    }

    /// <returns>an entry without a cluster where that says it all; else one with any offset</returns>
    private ulong FormOf(DirtyBitmap bits, int index)
    {
        var first = (long)index << (_space.ClusterBits + 3);
        var end = Math.Min(((long)index + 1) << (_space.ClusterBits + 3), bits.Shape.Bits);
        return bits.FindSet(first, end) == end ? BitmapTableEntry.AllZeroes
            : bits.FindClear(first, end) == end ? BitmapTableEntry.AllOnes
            : 1UL << _space.ClusterBits;
    }

    private async LoopTask<int> WriteDataAsync(DirtyBitmap bits, int index, long offset)
    {
        var pool = LoopScheduler.Current.Buffers;
        var size = 1L << _space.ClusterBits;
        var piece = pool.Rent((int)Math.Min(PieceBytes, size));
        var error = 0;
        for (long done = 0; done < size && error == 0; done += piece.Length)
        {
            RecordingBitmap.CopyExact(bits, ((long)index << _space.ClusterBits) + done, piece.Span);
            error = await _space.File.WriteAsync(offset + done, piece);
        }

        pool.Return(piece);
        return error;
    }

    private async LoopTask<int> WriteExactAsync(RecordingBitmap bitmap)
    {
        for (var index = 0; index < bitmap.Stored.Clusters; index++)
        {
            var offset = BitmapTableEntry.OffsetOf(bitmap.Stored[index]);
            if (offset != 0 && await WriteDataAsync(bitmap.Bits, index, offset) is var error and < 0)
                return error;
        }

        return 0;
    }

    /// <summary>Changes flags in the directory where it is. Each is in one sector.</summary>
    private LoopTask<int> FlagAsync(Func<BitmapEntry, BitmapFlags> flags)
    {
        if (_directory is null)
            return new LoopTask<int>(0);
        var changed = _directory.Copy();
        for (var index = 0; index < changed.Entries.Count; index++)
        {
            var wanted = flags(changed.Entries[index]);
            if (wanted != changed.Entries[index].Flags)
                changed.SetFlags(index, wanted);
        }

        return WriteInPlaceAsync(changed);
    }

    private async LoopTask<int> WriteInPlaceAsync(BitmapDirectoryBytes changed)
    {
        if (changed.Bytes.AsSpan().SequenceEqual(_directory!.Bytes))
            return 0;
        var error = await WriteDirectoryAsync(_extension!.DirectoryOffset.Value, changed.Bytes);
        if (error == 0)
            error = await _space.SyncAsync();
        if (error == 0)
            _directory = changed;
        return error;
    }

    private long TableClusters(StoredBitmap stored) => ClustersOf((long)stored.Clusters * sizeof(ulong));

    private long ClustersOf(long bytes) => Rounding.Up(bytes, 1L << _space.ClusterBits) >> _space.ClusterBits;
}
