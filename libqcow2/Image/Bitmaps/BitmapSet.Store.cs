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

    /// <summary>Before the first change: says in the directory which bitmaps are being changed, and which are no longer right.</summary>
    public async LoopTask<int> MarkAsync()
    {
        if (_directory is null)
            return 0;
        var marked = _directory.Copy();
        for (var index = 0; index < marked.Entries.Count; index++)
        {
            var entry = marked.Entries[index];
            if (!entry.Flags.HasFlag(BitmapFlags.Auto))
                continue;

            // What is not kept is inconsistent. If others are kept, that must not be taken for one of them.
            var flags = entry.Flags | BitmapFlags.InUse;
            if (_kept.Count > 0 && !IsKept(entry))
                flags &= ~BitmapFlags.Auto;
            if (flags != entry.Flags)
                marked.SetFlags(index, flags);
        }

        var error = await WriteInPlaceAsync(marked);
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
        var stored = _directory!.Copy();
        for (var index = 0; index < stored.Entries.Count; index++)
        {
            if (IsKept(stored.Entries[index]))
                stored.SetFlags(index, stored.Entries[index].Flags & ~BitmapFlags.InUse);
        }

        if (await WriteInPlaceAsync(stored) is var unmarked and < 0)
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

    /// <summary>Makes another directory the image's, in one step; what it names is written already.</summary>
    /// <param name="next">the directory; without entries, the image has none afterwards</param>
    /// <exception cref="ImageFormatException">the header has no room for it; nothing was changed</exception>
    public async LoopTask<int> ReplaceDirectoryAsync(BitmapDirectoryBytes next)
    {
        var before = _extension;
        BitmapsExtension? extension = null;
        if (next.Entries.Count > 0)
        {
            var offset = await _space.AllocateAsync(ClustersOf(next.Bytes.Length));
            if (offset < 0)
                return (int)offset;
            extension = new BitmapsExtension(next.Entries.Count, next.Bytes.Length, new HostOffset(offset));
            var error = await WriteDirectoryAsync(offset, next.Bytes);
            if (error == 0)
                error = await _space.CommitAsync();
            if (error == 0)
                error = await _space.SyncAsync();
            if (error < 0)
            {
                _space.Free(offset, ClustersOf(next.Bytes.Length));
                return error;
            }
        }

        // If this fails the header may say either: both stay as they are, and one of them leaks.
        int failed;
        try
        {
            failed = await _space.SetExtensionAsync(extension);
        }
        catch (ImageFormatException)
        {
            // It has no room for that, and was not changed.
            if (extension is not null)
                _space.Free(extension.DirectoryOffset.Value, ClustersOf(extension.DirectorySize));
            throw;
        }

        if (failed < 0)
            return failed;
        _space.MoveDirectory(before, extension);
        if (before is not null)
            _space.Free(before.DirectoryOffset.Value, ClustersOf(before.DirectorySize));
        (_extension, _directory) = (extension, extension is null ? null : next);
        return 0;
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

    private async LoopTask<int> WriteDirectoryAsync(long offset, byte[] bytes)
    {
        var pool = LoopScheduler.Current.Buffers;
        var buffer = pool.Rent((int)Rounding.Up(bytes.Length, _space.WriteUnit));
        buffer.Clear();
        bytes.CopyTo(buffer.Span);
        var error = await _space.File.WriteAsync(offset, buffer);
        pool.Return(buffer);
        return error;
    }

    private long TableClusters(StoredBitmap stored) => ClustersOf((long)stored.Clusters * sizeof(ulong));

    private long ClustersOf(long bytes) => Rounding.Up(bytes, 1L << _space.ClusterBits) >> _space.ClusterBits;
}
