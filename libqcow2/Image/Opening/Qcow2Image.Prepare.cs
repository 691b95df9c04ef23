using System;
using System.Buffers.Binary;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Opening;

/// <summary>What must be true on disk before the first change of an image that others may open later.</summary>
internal sealed partial class Qcow2Image
{
    private readonly AsyncLock _prepareLock = new();
    private AutoclearFeatures _autoclear;
    private bool _marked;
    private bool _isPrepared;

    private LoopTask<int> PrepareForWritingAsync() => _writePrepared ? new LoopTask<int>(0) : PrepareOnceAsync();

    private async LoopTask<int> PrepareOnceAsync()
    {
        await _prepareLock.EnterAsync();
        int error;
        try
        {
            error = _writePrepared ? 0 : await PrepareAsync();
        }
        catch (InvariantBreach breach)
        {
            error = _context.Stop(breach);
        }

        _isPrepared |= error == 0;
        _writePrepared |= error == 0 && !_closed;
        _prepareLock.Exit();
        return error;
    }

    /// <summary>
    /// Clears autoclear bits we do not know: they vouch for data that we will not keep up to date. Bitmaps that
    /// record changes are marked in use, as we do not record them: whoever reads them later knows. If their directory is
    /// damaged, the bit that vouches for all of them is cleared.
    /// </summary>
    private async LoopTask<int> PrepareAsync()
    {
        var header = _context.Header;

        // The bit without the extension is an error of whoever set it.
        var known = AutoclearFeatures.None;
        if (header.Bitmaps is { } bitmaps)
        {
            var error = await MarkBitmapsInUseAsync(bitmaps);
            if (error < 0)
                return error;
            known = _bitmaps.Damage is null ? header.Autoclear & AutoclearFeatures.Bitmaps : 0;
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
        var start = bitmaps.DirectoryOffset.Value;
        var pool = LoopScheduler.Current.Buffers;
        var directory = pool.Rent(DirectoryLength(bitmaps));
        var error = await _file.ReadAsync(start, directory);
        var changed = error == 0 && MarkInUse(directory.Span[..bitmaps.DirectorySize], bitmaps);
        if (changed)
            error = await _file.WriteAsync(start, directory);
        if (error == 0 && changed)
        {
            error = await _file.FlushAsync();
            if (error < 0)
                _context.SyncFailed(error);
        }

        if (error == 0)
            _bitmaps = Read(directory.Span[..bitmaps.DirectorySize], bitmaps);
        pool.Return(directory);
        return error;
    }

    /// <returns>whether there was anything to mark; never in a directory that is damaged</returns>
    private bool MarkInUse(Span<byte> directory, BitmapsExtension bitmaps)
    {
        if (Read(directory, bitmaps) is not { Recording: > 0 })
            return false;
        var reader = new BitmapDirectoryReader(directory, bitmaps.NumberOfBitmaps, _geometry.ClusterSize, _file.Path);
        while (reader.TryRead() is { } entry)
        {
            if (!entry.IsRecording)
                continue;
            var flags = directory[(entry.EntryOffset + BitmapEntry.FlagsField)..];
            BinaryPrimitives.WriteUInt32BigEndian(flags, (uint)(entry.Flags | BitmapFlags.InUse));
        }

        return true;
    }
}
