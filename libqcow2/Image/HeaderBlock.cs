using System;
using System.Buffers;
using System.Buffers.Binary;
using System.Collections.Generic;
using DotNext.Buffers;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image;

/// <summary>
/// The first sector of the image, where all header fields are. Every change is one write of that sector, which a
/// disk does wholly or not at all; changes come one after another.
/// </summary>
internal sealed class HeaderBlock : IDisposable
{
    private readonly AsyncLock _lock = new();
    private readonly IBlockStorage _file;
    private readonly IMemoryOwner<byte> _memory;
    private readonly NativeBuffer _block;

    private HeaderBlock(IBlockStorage file, int length)
    {
        _file = file;
        _memory = UnmanagedMemory.AllocatePageAlignedMemory(length);
        _block = NativeBuffer.Of(_memory);
    }

    /// <summary>Told when a sync fails: it may have been the one that would have brought guest data to disk.</summary>
    public Action<int>? SyncFailed { get; set; }

    /// <summary>Completes when no change of the header is under way.</summary>
    public async LoopTask<int> DrainAsync()
    {
        await _lock.EnterAsync();
        _lock.Exit();
        return 0;
    }

    /// <returns>the block, or null with a negative errno</returns>
    public static async LoopTask<(int Error, HeaderBlock? Block)> LoadAsync(IBlockStorage file)
    {
        var block = new HeaderBlock(file, Math.Max(512, file.OffsetAlignment));
        var error = await file.ReadAsync(0, block._block);
        if (error == 0)
            return (0, block);
        block.Dispose();
        return (error, null);
    }

    /// <summary>Points the header to a new refcount table: offset and size are 12 adjacent bytes.</summary>
    public async LoopTask<int> SetRefcountTableAsync(HostOffset offset, int clusters)
    {
        await _lock.EnterAsync();
        BinaryPrimitives.WriteInt64BigEndian(_block.Span[HeaderField.RefcountTableOffset..], offset.Value);
        BinaryPrimitives.WriteInt32BigEndian(_block.Span[HeaderField.RefcountTableClusters..], clusters);
        return await WriteAsync();
    }

    public async LoopTask<int> SetIncompatibleAsync(IncompatibleFeatures bits)
    {
        await _lock.EnterAsync();
        var field = _block.Span[HeaderField.IncompatibleFeatures..];
        BinaryPrimitives.WriteUInt64BigEndian(field, BinaryPrimitives.ReadUInt64BigEndian(field) | (ulong)bits);
        return await WriteAsync();
    }

    /// <summary>Points the header to another snapshot table: count and offset are 12 adjacent bytes.</summary>
    /// <param name="offset">where it is</param>
    /// <param name="count">its entries</param>
    /// <param name="bitmaps">what changes with it; <see cref="MakeRoomAsync"/> was done before</param>
    public async LoopTask<int> SetSnapshotsAsync(HostOffset offset, int count, BitmapsSwitch? bitmaps = null)
    {
        await _lock.EnterAsync();
        Put(bitmaps);
        BinaryPrimitives.WriteInt32BigEndian(_block.Span[HeaderField.SnapshotCount..], count);
        BinaryPrimitives.WriteInt64BigEndian(_block.Span[HeaderField.SnapshotsOffset..], offset.Value);
        return await WriteAsync();
    }

    /// <summary>Points the header to another L1 table, of a disk of another size: all at once.</summary>
    /// <param name="active">the table and the size</param>
    /// <param name="bitmaps">what changes with it; <see cref="MakeRoomAsync"/> was done before</param>
    public async LoopTask<int> SetActiveAsync(ActiveTable active, BitmapsSwitch? bitmaps = null)
    {
        await _lock.EnterAsync();
        Put(bitmaps);
        active.WriteTo(_block.Span);
        return await WriteAsync();
    }

    public async LoopTask<int> SetAutoclearAsync(AutoclearFeatures features)
    {
        await _lock.EnterAsync();
        BinaryPrimitives.WriteUInt64BigEndian(_block.Span[HeaderField.AutoclearFeatures..], (ulong)features);
        return await WriteAsync();
    }

    /// <summary>Makes the header point to another bitmap directory, or to none; in steps where that is more than one sector.</summary>
    /// <exception cref="ImageFormatException">the header has no room for that; nothing was changed</exception>
    public LoopTask<int> SetBitmapsAsync(BitmapsExtension? extension, int clusterSize) =>
        EditAsync(clusterSize, cluster => BitmapsExtensionEdit.Plan(cluster, extension, _file.Path));

    /// <summary>Gets the bitmaps extension into the first sector, so that it can be changed with the fields there.</summary>
    /// <exception cref="ImageFormatException">there is no room for it; nothing was changed</exception>
    public LoopTask<int> MakeRoomAsync(BitmapsExtension extension, int clusterSize) =>
        EditAsync(clusterSize, cluster => BitmapsExtensionEdit.PlanRoom(cluster, extension, _file.Path));

    /// <summary>Notes over which version of its base the image is written.</summary>
    /// <exception cref="ImageFormatException">the header has no room for that; nothing was changed</exception>
    public LoopTask<int> SetBaseVersionAsync(BaseVersion version, int clusterSize) =>
        EditAsync(clusterSize, cluster => version.Plan(cluster, _file.Path));

    public void Dispose() => _memory.Dispose();

    private void Put(BitmapsSwitch? bitmaps)
    {
        if (bitmaps is null)
            return;
        var field = _block.Span[HeaderField.AutoclearFeatures..];
        var features = (AutoclearFeatures)BinaryPrimitives.ReadUInt64BigEndian(field);
        features = bitmaps.Extension is null ? features & ~AutoclearFeatures.Bitmaps : features | AutoclearFeatures.Bitmaps;
        BinaryPrimitives.WriteUInt64BigEndian(field, (ulong)features);
        if (bitmaps.Extension is not { } extension)
            return;
        var place = BitmapsExtensionEdit.DataInFirstSector(_block.Span);
        Invariant.Holds(place is not null, "what changes with one write is in one sector", _block.Length);
        extension.Encode().CopyTo(_block.Span[place!.Value..]);
    }

    private async LoopTask<int> EditAsync(int clusterSize, Func<byte[], IReadOnlyList<byte[]>> plan)
    {
        await _lock.EnterAsync();
        var pool = LoopScheduler.Current.Buffers;
        var cluster = pool.Rent(Math.Max(clusterSize, _block.Length));
        try
        {
            var error = await _file.ReadAsync(0, cluster);
            if (error < 0)
                return error;
            foreach (var step in plan(cluster.Span[..clusterSize].ToArray()))
            {
                error = await WriteStepAsync(cluster, step);
                if (error < 0)
                    return error;
            }

            return 0;
        }
        finally
        {
            pool.Return(cluster);
            _lock.Exit();
        }
    }

    /// <summary>Writes what differs, in whole units, and brings it to disk.</summary>
    private async LoopTask<int> WriteStepAsync(NativeBuffer cluster, byte[] step)
    {
        var first = cluster.Span.CommonPrefixLength(step);
        var end = step.Length;
        while (end > first && cluster.Span[end - 1] == step[end - 1])
            end--;
        step.CopyTo(cluster.Span);
        cluster.Span[.._block.Length].CopyTo(_block.Span);
        var start = (int)Rounding.Down(first, _block.Length);
        var length = (int)Rounding.Up(end, _block.Length) - start;
        var error = await _file.WriteAsync(start, cluster.Slice(start, length));
        return error < 0 ? error : await SyncAsync();
    }

    private async LoopTask<int> SyncAsync()
    {
        var error = await _file.FlushAsync();
        if (error < 0)
            SyncFailed?.Invoke(error);
        return error;
    }

    private async LoopTask<int> WriteAsync()
    {
        try
        {
            var error = await _file.WriteAsync(0, _block);
            return error < 0 ? error : await SyncAsync();
        }
        finally
        {
            _lock.Exit();
        }
    }
}
