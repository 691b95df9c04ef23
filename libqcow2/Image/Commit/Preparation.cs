using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Commit;

/// <summary>What must be true on disk before the first change of an image that others may open later.</summary>
internal sealed class Preparation(ImageContext context, BitmapList bitmaps)
{
    private readonly AsyncLock _lock = new();
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

    /// <summary>Before a range is changed: as the other, and the bitmaps have it.</summary>
    public async LoopTask<int> RunAsync(long offset, long length)
    {
        var error = await RunAsync();
        return error < 0 ? error : await bitmaps.Set.TouchAsync(offset, length);
    }

    /// <summary>Whether the bitmaps have the range, without anything on disk. Any loop.</summary>
    public bool TryTouch(long offset, long length) => bitmaps.Set.TryTouch(offset, length);

    /// <summary>Before the image is another's to open: the bits of bitmaps are there, and nothing is in use.</summary>
    public async LoopTask<int> StoreBitmapsAsync()
    {
        if (!bitmaps.Set.NeedsStore)
            return 0;

        // What was taken over from a dead server has to be written, even if nothing else is.
        var error = await RunAsync();
        return error < 0 ? error : await bitmaps.Set.StoreAsync();
    }

    /// <summary>The image is at rest: who changes it next prepares it again.</summary>
    public void Reopen() => _isOpen = false;

    /// <summary>Takes the marks away: everything is in the image, and no log belongs to it, nor a bitmap that is being changed.</summary>
    public LoopTask<int> UndoMarkAsync() => _marked
        ? context.HeaderBlock.SetAutoclearAsync(Plain)
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
    /// Clears autoclear bits we do not know: they vouch for data that we will not keep up to date. Bitmaps that record changes are
    /// marked in use, as others must not believe them until we are done. If their directory is damaged, the bit that vouches for
    /// all of them is cleared.
    /// </summary>
    private async LoopTask<int> PrepareAsync()
    {
        var error = await EndOnBlockAsync(context.File, long.MaxValue);
        if (error == 0 && context.Geometry.HasDataFile)
            error = await EndOnBlockAsync(context.Data, Rounding.Up(context.Geometry.DiskSize, context.Data.OffsetAlignment));
        if (error == 0)
            error = await bitmaps.Set.DisownAsync();
        if (error < 0)
            return error;

        // With a log, the mark: whoever else opens the image for writing clears it.
        var marked = (bitmaps.Set.Features | RawData).WithRecoveryMark(context.Log?.Mark ?? 0);
        _marked = marked != Plain;
        error = marked == context.Header.Autoclear ? 0 : await context.HeaderBlock.SetAutoclearAsync(marked);
        if (error == 0)
            error = await bitmaps.Set.MarkAsync();
        bitmaps.Describe();
        return error;
    }

    /// <summary>
    /// A file that ends in the middle of a block grows to its end while nobody writes: see <see cref="IBlockStorage.BlockBytes"/>.
    /// </summary>
    /// <param name="file">of the image, or of its data</param>
    /// <param name="most">bytes that it may have</param>
    private static async LoopTask<int> EndOnBlockAsync(IBlockStorage file, long most)
    {
        var end = long.Min(Rounding.Up(file.Length, file.BlockBytes), most);
        if (end <= file.Length || file.HasFixedLength)
            return 0;

        // If it cannot grow now, it will not later, when that would do harm.
        if (await file.SetLengthAsync(end) < 0)
            return 0;

        // The copy of the block that the page cache has is clean then, and direct writes take it away.
        return await file.FlushAsync();
    }

    /// <summary>What is true of the image at rest. The bit without the extension is an error of whoever set it.</summary>
    private AutoclearFeatures Plain => RawData | (bitmaps.Set.Features & AutoclearFeatures.Bitmaps);

    /// <summary>A raw data file stays raw: what is written to it is what the guest sees.</summary>
    private AutoclearFeatures RawData => context.Header.Autoclear & AutoclearFeatures.RawExternalData;
}
