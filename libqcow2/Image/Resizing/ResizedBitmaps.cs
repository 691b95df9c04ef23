using System;
using System.Collections.Generic;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Bitmaps;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Resizing;

/// <summary>
/// All bitmaps of an image for a disk of another size, written beside the present ones. A table of bits that does not fit the disk is
/// damage, so the header has to name them and the size at once.
/// </summary>
internal sealed class ResizedBitmaps
{
    private readonly BitmapSet _set;
    private readonly BitmapDirectoryBytes _directory;
    private readonly List<StoredBitmap> _before = [];
    private readonly List<StoredBitmap> _made = [];

    private ResizedBitmaps(BitmapSet set) => (_set, _directory) = (set, set.Directory!.Copy());

    /// <summary>Why the bitmaps cannot follow: the rules of qemu, which has all of them in memory or refuses.</summary>
    /// <param name="set">the bitmaps; on disk they are as they are</param>
    /// <param name="space">where they are</param>
    /// <param name="size">bytes that the disk is to have</param>
    public static async LoopTask<EditAnswer?> RefuseAsync(BitmapSet set, IBitmapSpace space, long size)
    {
        if (set.Damage is { } damage)
            return EditAnswer.Refused(EditResult.Failed, damage);
        foreach (var entry in set.Directory?.Entries ?? [])
        {
            if (set.IsShown(entry.Name))
                return EditAnswer.Refused(EditResult.Busy, $"bitmap \"{entry.Name}\" is exported");
            if (entry.Flags.HasFlag(BitmapFlags.InUse) && !set.IsKept(entry))
            {
                return EditAnswer.Refused(EditResult.Failed, $"bitmap \"{entry.Name}\" is inconsistent and cannot follow",
                    "remove it first: it is of no use any more");
            }

            if (entry.Type != BitmapDirectory.DirtyTrackingType || entry.ExtraDataSize > 0)
                return EditAnswer.Refused(EditResult.Failed, $"bitmap \"{entry.Name}\" is of a kind that is not known", "remove it first");
            if (new BitmapShape(size, entry.GranularityBits).Refusal() is { } tooLarge)
                return EditAnswer.Refused(EditResult.Failed, $"bitmap \"{entry.Name}\": {tooLarge}", "remove it first");
            if (await RefuseTableAsync(entry, space) is { } damaged)
                return damaged;
        }

        return null;
    }

    /// <summary>Writes them. Nothing points to them yet.</summary>
    /// <returns>0, or a negative errno: then nothing is taken; null if there are no bitmaps</returns>
    /// <exception cref="ImageFormatException">one of them is damaged; nothing is taken</exception>
    public static async LoopTask<(int Error, ResizedBitmaps? Bitmaps)> WriteAsync(BitmapSet set, IBitmapSpace space, long size)
    {
        if (set.Directory is null or { Entries.Count: 0 })
            return (0, null);
        var resized = new ResizedBitmaps(set);
        try
        {
            var error = 0;
            for (var index = 0; index < resized._directory.Entries.Count && error == 0; index++)
                error = await resized.WriteAsync(index, space, size);
            if (error == 0)
                return (0, resized);
            resized.GiveUp();
            return (error, null);
        }
        catch (ImageFormatException)
        {
            resized.GiveUp();
            throw;
        }
    }

    /// <summary>Makes them those of the image.</summary>
    /// <param name="set">the step that the header makes</param>
    /// <returns>0, or a negative errno</returns>
    public async LoopTask<int> ReplaceAsync(Func<BitmapsExtension?, LoopTask<int>> set)
    {
        var error = await _set.ReplaceDirectoryAsync(_directory, set);
        if (error < 0)
            return error;
        foreach (var stored in _before)
            _set.Free(stored);
        return 0;
    }

    /// <summary>They are not to be those of the image, and no header names them.</summary>
    public void GiveUp()
    {
        foreach (var stored in _made)
            _set.Free(stored);
        _made.Clear();
    }

    private async LoopTask<int> WriteAsync(int index, IBitmapSpace space, long size)
    {
        var entry = _directory.Entries[index];
        var (error, before) = await StoredBitmap.LoadAsync(space.File, entry, space.DiskSize, space.ClusterBits);
        if (error < 0)
            return error;
        (error, var bits) = await _set.ReadAsync(entry);
        if (error < 0)
            return error;
        var shape = new BitmapShape(size, entry.GranularityBits);
        using var resized = new DirtyBitmap(shape, BitmapMemory.OfProcess(shape.Bits));
        using (bits)
        {
            // What the disk did not have before is clean, as in qemu: it reads as zeroes in every backup.
            var kept = (int)Math.Min(bits!.Shape.Bytes, shape.Bytes);
            bits.Bytes[..kept].CopyTo(resized.Bytes);
        }

        resized.ClearTail();
        var stored = StoredBitmap.New(entry.Name, shape, space.ClusterBits);
        error = await _set.WriteNewAsync(stored, resized);
        if (error < 0)
            return error;
        _directory.SetTable(index, stored.TableOffset, stored.Clusters);
        _before.Add(before!);
        _made.Add(stored);
        return 0;
    }

    private static async LoopTask<EditAnswer?> RefuseTableAsync(BitmapEntry entry, IBitmapSpace space)
    {
        try
        {
            var (error, _) = await StoredBitmap.LoadAsync(space.File, entry, space.DiskSize, space.ClusterBits);
            return error == 0 ? null : EditAnswer.OfErrno(error, $"cannot read the table of bitmap \"{entry.Name}\"");
        }
        catch (ImageFormatException damage)
        {
            return EditAnswer.Refused(EditResult.Failed, damage.Why, "remove the bitmap first");
        }
    }
}
