using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Check;

/// <summary>Writes of a repair. The first of them makes known that somebody wrote: unknown autoclear bits go.</summary>
/// <param name="image">what is repaired</param>
/// <param name="changesDisk">
/// whether a guest will read something else somewhere, which no bitmap has: then bitmaps that were in use are complete no more
/// </param>
internal sealed class RepairWriter(ImageUnderCheck image, bool changesDisk)
{
    private readonly IBlockStorage _file = image.File;
    private bool _hasBegun;

    /// <summary>Whether anything was written.</summary>
    public bool HasWritten => _hasBegun;

    /// <summary>Writes bytes at any offset.</summary>
    public async LoopTask<int> WriteAsync(long offset, byte[] bytes)
    {
        var error = await BeginAsync();
        return error < 0 ? error : await AlignedPatch.WriteAsync(_file, offset, bytes);
    }

    /// <summary>Writes a part of a buffer, straight if it is aligned.</summary>
    public async LoopTask<int> WriteAsync(long offset, TableBuffer buffer, int start, int length)
    {
        var unit = Math.Max(1, _file.OffsetAlignment);
        if (offset % unit != 0 || length % unit != 0 || start % Math.Max(1, _file.MemoryAlignment) != 0)
            return await WriteAsync(offset, buffer.Span.Slice(start, length).ToArray());
        var error = await BeginAsync();
        return error < 0 ? error : await _file.WriteAsync(offset, buffer.Whole.Slice(start, length));
    }

    public LoopTask<int> FlushAsync() => _hasBegun ? _file.FlushAsync() : new LoopTask<int>(0);

    /// <summary>Points the header to another refcount table: offset and size are 12 adjacent bytes.</summary>
    public LoopTask<int> SetRefcountTableAsync(long offset, int clusters)
    {
        var fields = new byte[12];
        BinaryPrimitives.WriteInt64BigEndian(fields, offset);
        BinaryPrimitives.WriteInt32BigEndian(fields.AsSpan(8), clusters);
        return WriteAsync(HeaderField.RefcountTableOffset, fields);
    }

    /// <summary>Points the header to another snapshot table: count and offset are 12 adjacent bytes.</summary>
    public LoopTask<int> SetSnapshotTableAsync(int count, long offset)
    {
        var fields = new byte[12];
        BinaryPrimitives.WriteInt32BigEndian(fields, count);
        BinaryPrimitives.WriteInt64BigEndian(fields.AsSpan(4), offset);
        return WriteAsync(HeaderField.SnapshotCount, fields);
    }

    /// <summary>The image is sound: nobody has to repair it any more.</summary>
    public async LoopTask<int> MarkSoundAsync()
    {
        const IncompatibleFeatures marks = IncompatibleFeatures.Dirty | IncompatibleFeatures.Corrupt;
        if ((image.Header.Incompatible & marks) == 0)
            return 0;
        var field = new byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64BigEndian(field, (ulong)(image.Header.Incompatible & ~marks));
        var error = await WriteAsync(HeaderField.IncompatibleFeatures, field);
        return error < 0 ? error : await FlushAsync();
    }

    private async LoopTask<int> BeginAsync()
    {
        if (_hasBegun)
            return 0;
        _hasBegun = true;
        var lasting = AutoclearFeatures.Known | (changesDisk ? AutoclearFeatures.None : AutoclearFeatures.KeptBitmaps);
        var known = image.Header.Autoclear & lasting;
        if (known == image.Header.Autoclear)
            return 0;
        var field = new byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64BigEndian(field, (ulong)known);
        var error = await AlignedPatch.WriteAsync(_file, HeaderField.AutoclearFeatures, field);
        return error < 0 ? error : await _file.FlushAsync();
    }
}
