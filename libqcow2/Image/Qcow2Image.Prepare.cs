using System;
using System.Buffers.Binary;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image;

/// <summary>What must be true on disk before the first change of an image that others may open later.</summary>
public sealed partial class Qcow2Image
{
    private readonly AsyncLock _prepareLock = new();
    private AutoclearFeatures _autoclear;
    private bool _marked;

    private LoopTask<int> PrepareForWritingAsync() => _writePrepared ? new LoopTask<int>(0) : PrepareOnceAsync();

    private async LoopTask<int> PrepareOnceAsync()
    {
        await _prepareLock.EnterAsync();
        var error = _writePrepared ? 0 : await PrepareAsync();
        _writePrepared |= error == 0 && !_closed;
        _prepareLock.Exit();
        return error;
    }

    /// <summary>
    /// Clears autoclear bits we do not know: they vouch for data that we will not keep up to date. Bitmaps that
    /// record changes are marked in use, as we do not record them: whoever reads them later knows.
    /// </summary>
    private async LoopTask<int> PrepareAsync()
    {
        var header = _context.Header;
        var known = header.Autoclear & AutoclearFeatures.Bitmaps;
        if ((known & AutoclearFeatures.Bitmaps) != 0 && header.Bitmaps is { } bitmaps)
        {
            var error = await MarkBitmapsInUseAsync(bitmaps);
            if (error < 0)
                return error;
        }
        else
        {
            // The bit without the extension is an error of whoever set it.
            known = 0;
        }

        // With a log, the mark: whoever else opens the image for writing clears it.
        _autoclear = known;
        _marked = _context.Log is { Mark: not 0 };
        var marked = known.WithRecoveryMark(_context.Log?.Mark ?? 0);
        return marked == header.Autoclear ? 0 : await _context.HeaderBlock.SetAutoclearAsync(marked);
    }

    /// <summary>Takes the mark away: everything is in the image, and no log belongs to it.</summary>
    private LoopTask<int> UnmarkAsync() => _marked
        ? _context.HeaderBlock.SetAutoclearAsync(_autoclear)
        : new LoopTask<int>(0);

    private async LoopTask<int> MarkBitmapsInUseAsync(BitmapsExtension bitmaps)
    {
        var unit = _context.WriteUnit;
        var start = bitmaps.DirectoryOffset.Value;
        var pool = LoopScheduler.Current.Buffers;
        var length = (bitmaps.DirectorySize + unit - 1) / unit * unit;
        var directory = pool.Rent(length);
        var error = await _file.ReadAsync(start, directory);
        var changed = false;
        if (error == 0)
            error = MarkInUse(directory.Span, bitmaps, out changed);
        if (error == 0 && changed)
            error = await _file.WriteAsync(start, directory);
        if (error == 0 && changed)
        {
            error = await _file.FlushAsync();
            if (error < 0)
                _context.SyncFailed(error);
        }


        pool.Return(directory);
        return error;
    }

    private int MarkInUse(Span<byte> directory, BitmapsExtension bitmaps, out bool changed)
    {
        changed = false;
        try
        {
            foreach (var entry in BitmapDirectory.Parse(directory[..bitmaps.DirectorySize], bitmaps, _context.Header))
            {
                if ((entry.Flags & (BitmapFlags.Auto | BitmapFlags.InUse)) != BitmapFlags.Auto)
                    continue;
                var flags = directory[(entry.EntryOffset + BitmapEntry.FlagsField)..];
                BinaryPrimitives.WriteUInt32BigEndian(flags, (uint)(entry.Flags | BitmapFlags.InUse));
                changed = true;
            }

            return 0;
        }
        catch (ImageFormatException damage)
        {
            return _context.Corrupt(damage.Message);
        }
    }
}
