using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Opening;

/// <summary>What must be true on disk before the first change of an image that others may open later.</summary>
internal sealed partial class Qcow2Image
{
    private readonly AsyncLock _prepareLock = new();
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
    /// Clears autoclear bits we do not know: they vouch for data that we will not keep up to date. Bitmaps that record changes are
    /// marked in use, as others must not believe them until we are done. If their directory is damaged, the bit that vouches for
    /// all of them is cleared.
    /// </summary>
    private async LoopTask<int> PrepareAsync()
    {
        var error = await _bitmapSet.DisownAsync();
        if (error < 0)
            return error;

        // With a log, the mark: whoever else opens the image for writing clears it.
        var marked = _bitmapSet.Features.WithRecoveryMark(_context.Log?.Mark ?? 0);
        _marked = marked != PlainAutoclear;
        error = marked == Header.Autoclear ? 0 : await _context.HeaderBlock.SetAutoclearAsync(marked);
        if (error == 0)
            error = await _bitmapSet.MarkAsync();
        Describe();
        return error;
    }

    /// <summary>What is true of the image at rest. The bit without the extension is an error of whoever set it.</summary>
    private AutoclearFeatures PlainAutoclear => _bitmapSet.Features & AutoclearFeatures.Bitmaps;

    /// <summary>Takes the marks away: everything is in the image, and no log belongs to it, nor a bitmap that is being changed.</summary>
    private LoopTask<int> UnmarkAsync() => _marked
        ? _context.HeaderBlock.SetAutoclearAsync(PlainAutoclear)
        : new LoopTask<int>(0);
}
