using System;
using System.Collections.Generic;
using System.IO;
using System.Runtime.InteropServices;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Bitmaps;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Image.Space;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Commit;

/// <summary>The persistent bitmaps of an image: they follow every change of the disk.</summary>
internal sealed class BitmapList : IDisposable
{
    private readonly ImageContext _context;
    private readonly ImageOptions _options;
    private readonly BitmapSpace _space;
    private readonly bool _forWriting;
    private IReadOnlyList<string> _shown = [];
    private volatile ImageBitmaps _found = ImageBitmaps.None;

    /// <param name="context">the image</param>
    /// <param name="options">where its log is</param>
    /// <param name="allocator">of host clusters; null if the image is only read</param>
    /// <param name="frees">takes host clusters; null if the image is only read</param>
    /// <param name="refcounts">of host clusters; null if the image is only read</param>
    public BitmapList(
        ImageContext context, ImageOptions options, Allocator? allocator, FreeQueue? frees, RefcountBlocks? refcounts)
    {
        (_context, _options, _forWriting) = (context, options, allocator is not null);
        _space = new BitmapSpace(context, options, allocator, frees, refcounts);
        Set = new BitmapSet(_space);
    }

    /// <summary>As they were when the image was opened, or edited last. Any thread.</summary>
    public ImageBitmaps Found => _found;

    public BitmapSet Set { get; }

    /// <summary>Where they are.</summary>
    public IBitmapSpace Space => _space;

    /// <summary>What can be done with them; but for the list, inside an edit.</summary>
    public BitmapEditor Editor => new(Set, _space, _context.Header);

    /// <summary>Reads which there are, and those that record. Before the first change, that of a replay, too.</summary>
    /// <param name="left">whether bits that a dead server left may count</param>
    /// <returns>0, or a negative errno; that they are damaged is no reason to refuse the disk</returns>
    public async LoopTask<int> LoadAsync(bool left)
    {
        var header = _context.Header;
        var shadow = !_forWriting || _options.RecoveryLog is not { } log ? null
            : new BitmapShadow(log, left ? Proof() : null, header.Autoclear.RecoveryMark());
        var error = await Set.LoadAsync(header.Bitmaps, header.Autoclear.HasFlag(AutoclearFeatures.KeptBitmaps), _forWriting, shadow);
        Describe();
        return error;
    }

    /// <summary>From now on the bits beside the log are those of this image, if its server is killed.</summary>
    public void BindShadow()
    {
        if (_context.Log is { Mark: not 0 } log)
            Set.BindShadow(Proof(), log.Mark);
    }

    /// <summary>Tells anew what there is.</summary>
    public void Describe() => _found = ImageBitmaps.Of(Set);

    /// <summary>Lets clients look at bitmaps, from now on.</summary>
    /// <exception cref="ImageFormatException">one of them is not there, or of no use</exception>
    /// <exception cref="IOException">it cannot be read</exception>
    public async LoopTask<int> ShowAsync(IReadOnlyList<string> names)
    {
        var path = _context.File.Path;
        foreach (var name in names)
        {
            var index = Set.Directory?.Find(name) ?? -1;
            if (index < 0)
            {
                throw new ImageFormatException(path, "bitmap_directory", Set.Damage ?? $"there is no bitmap \"{name}\"")
                {
                    IsMissing = Set.Damage is null,
                };
            }

            var entry = Set.Directory!.Entries[index];
            var isComplete = entry.Flags.HasFlag(BitmapFlags.Auto) && _context.Header.Autoclear.HasFlag(AutoclearFeatures.KeptBitmaps);
            if (entry.Flags.HasFlag(BitmapFlags.InUse) && !isComplete && !Set.IsKept(entry))
                throw new ImageFormatException(path, "bitmap_directory", $"bitmap \"{name}\" is inconsistent and cannot be used");
            if (await Set.ShowAsync(entry) is var error and < 0)
                throw new IOException($"cannot read {path} (bitmap \"{name}\"): {Errno.Text(error)}");
        }

        _shown = names;
        return 0;
    }

    /// <summary>Reads them again, after an edit.</summary>
    public async LoopTask<int> ReloadAsync()
    {
        RemoveShadow();
        var error = await LoadAsync(left: false);
        BindShadow();
        return error < 0 ? error : await ShowAsync(_shown);
    }

    /// <summary>All is in the image: nothing outlives the process.</summary>
    public void RemoveShadow()
    {
        if (_options.RecoveryLog is { } log)
            ShadowFile.Remove(log);
    }

    public void Dispose() => Set.Dispose();

    private byte[] Proof() => MemoryMarshal.AsBytes([LogIdentities.Of(_context.File, _context.Header).Identity]).ToArray();
}
