using System;
using System.Collections.Generic;
using System.IO;
using System.Runtime.InteropServices;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Bitmaps;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Opening;

/// <summary>The persistent bitmaps of the image: they follow every change of the disk.</summary>
internal sealed partial class Qcow2Image
{
    private readonly BitmapSet _bitmapSet;
    private readonly BitmapSpace _bitmapSpace;
    private IReadOnlyList<string> _shownBitmaps = [];
    private volatile ImageBitmaps _bitmaps = ImageBitmaps.None;

    /// <summary>As they were when the image was opened, or edited last. Any thread.</summary>
    public ImageBitmaps Bitmaps => _bitmaps;

    /// <summary>The bits of a bitmap that is shown. Home loop.</summary>
    /// <returns>null if it is not</returns>
    public DirtyBitmap? FindBitmap(string name) => _bitmapSet.Find(name);

    /// <summary>Reads which bitmaps there are, and those that record. Before the first change, that of a replay, too.</summary>
    /// <param name="left">whether bits that a dead server left may count</param>
    private async LoopTask<int> LoadBitmapsAsync(bool left)
    {
        var shadow = ReadOnly || _options.RecoveryLog is not { } log ? null
            : new BitmapShadow(log, left ? ProofOf(Header) : null, Header.Autoclear.RecoveryMark());
        var error = await _bitmapSet.LoadAsync(
            Header.Bitmaps, Header.Autoclear.HasFlag(AutoclearFeatures.KeptBitmaps), !ReadOnly, shadow);
        Describe();
        return error;
    }

    /// <summary>From now on the bits beside the log are those of this image, if it is killed.</summary>
    private void BindShadow()
    {
        if (_log is { Mark: not 0 })
            _bitmapSet.BindShadow(ProofOf(Header), _log.Mark);
    }

    /// <summary>What can be done with bitmaps, but for <see cref="BitmapEditor.ListAsync"/> inside an edit.</summary>
    public BitmapEditor BitmapEditor => new(_bitmapSet, _bitmapSpace, Header);

    /// <summary>Before the image is another's to open: the bits are there, and nothing is in use.</summary>
    private async LoopTask<int> StoreBitmapsAsync()
    {
        if (!_bitmapSet.NeedsStore)
            return 0;

        // What was taken over from a dead server has to be written, even if nothing else is.
        var error = await PrepareForWritingAsync();
        return error < 0 ? error : await _bitmapSet.StoreAsync();
    }

    /// <summary>Lets clients look at bitmaps, from now on.</summary>
    /// <exception cref="ImageFormatException">one of them is not there, or of no use</exception>
    /// <exception cref="IOException">it cannot be read</exception>
    public async LoopTask<int> ShowBitmapsAsync(IReadOnlyList<string> names)
    {
        foreach (var name in names)
        {
            var index = _bitmapSet.Directory?.Find(name) ?? -1;
            if (index < 0)
            {
                throw new ImageFormatException(_file.Path, "bitmap_directory", _bitmapSet.Damage ?? $"there is no bitmap \"{name}\"")
                {
                    IsMissing = _bitmapSet.Damage is null,
                };
            }

            var entry = _bitmapSet.Directory!.Entries[index];
            var isComplete = entry.Flags.HasFlag(BitmapFlags.Auto) && Header.Autoclear.HasFlag(AutoclearFeatures.KeptBitmaps);
            if (entry.Flags.HasFlag(BitmapFlags.InUse) && !isComplete && !_bitmapSet.IsKept(entry))
                throw new ImageFormatException(_file.Path, "bitmap_directory", $"bitmap \"{name}\" is inconsistent and cannot be used");
            Require(_file, $"bitmap \"{name}\"", await _bitmapSet.ShowAsync(entry));
        }

        _shownBitmaps = names;
        return 0;
    }

    /// <summary>Reads them again, after an edit.</summary>
    private async LoopTask<int> ReloadBitmapsAsync()
    {
        if (_options.RecoveryLog is { } log)
            ShadowFile.Remove(log);
        var error = await LoadBitmapsAsync(left: false);
        BindShadow();
        return error < 0 ? error : await ShowBitmapsAsync(_shownBitmaps);
    }

    private byte[] ProofOf(Header header) => MemoryMarshal.AsBytes([LoggedImageOf(_file, header).Identity]).ToArray();

    private void Describe() => _bitmaps = ImageBitmaps.Of(_bitmapSet);

    /// <summary>Before a range is changed: the header says so, and the bitmaps have it.</summary>
    private async LoopTask<int> PrepareChangeAsync(long offset, long length)
    {
        var error = await PrepareForWritingAsync();
        if (error == 0)
            error = await _bitmapSet.TouchAsync(offset, length);
        if (error == -Interop.Errno.ENOSPC && await ReclaimAsync())
            error = await _bitmapSet.TouchAsync(offset, length);
        return error;
    }
}
