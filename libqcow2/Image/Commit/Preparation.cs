using System;
using System.Buffers.Binary;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Commit;

/// <summary>What must be true on disk before the first change of an image that others may open later.</summary>
internal sealed class Preparation(ImageContext context, BitmapList bitmaps)
{
    private readonly AsyncLock _lock = new();
    private AutoclearFeatures _autoclear;
    private bool _marked;
    private volatile bool _isOpen;
    private volatile bool _isClosed;

    /// <summary>Whether the image is prepared, and not being closed. Any loop.</summary>
    public bool IsOpen => _isOpen;

    /// <summary>Whether the image was prepared once.</summary>
    public bool IsDone { get; private set; }

    /// <summary>The image is being closed: nothing is written in place any more.</summary>
    public void Close()
    {
        _isClosed = true;
        _isOpen = false;
    }

    public LoopTask<int> RunAsync() => _isOpen ? new LoopTask<int>(0) : RunOnceAsync();

    /// <summary>Takes the mark away: everything is in the image, and no log belongs to it.</summary>
    public LoopTask<int> UndoMarkAsync() => _marked
        ? context.HeaderBlock.SetAutoclearAsync(_autoclear)
        : new LoopTask<int>(0);

    private async LoopTask<int> RunOnceAsync()
    {
        await _lock.EnterAsync();
        int error;
        try
        {
            error = _isOpen ? 0 : await PrepareAsync();
        }
        catch (InvariantBreach breach)
        {
            error = context.Stop(breach);
        }

        IsDone |= error == 0;
        _isOpen |= error == 0 && !_isClosed;
        _lock.Exit();
        return error;
    }

    /// <summary>
    /// Clears autoclear bits we do not know: they vouch for data that we will not keep up to date. Bitmaps that
    /// record changes are marked in use, as we do not record them: whoever reads them later knows. If their directory is
    /// damaged, the bit that vouches for all of them is cleared.
    /// </summary>
    private async LoopTask<int> PrepareAsync()
    {
        var header = context.Header;

        // The bit without the extension is an error of whoever set it. A raw data file stays raw: what is written to it is what
        // the guest sees.
        var known = header.Autoclear & AutoclearFeatures.RawExternalData;
        if (header.Bitmaps is not null)
        {
            var error = await bitmaps.MarkInUseAsync();
            if (error < 0)
                return error;
            known |= bitmaps.Found.Damage is null ? header.Autoclear & AutoclearFeatures.Bitmaps : 0;
        }

        // With a log, the mark: whoever else opens the image for writing clears it.
        _autoclear = known;
        _marked = context.Log is { Mark: not 0 };
        var marked = known.WithRecoveryMark(context.Log?.Mark ?? 0);
        return marked == header.Autoclear ? 0 : await context.HeaderBlock.SetAutoclearAsync(marked);
    }
}
