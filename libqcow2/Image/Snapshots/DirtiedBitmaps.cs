using Qcow2Blk.Format;
using Qcow2Blk.Image.Bitmaps;
using Qcow2Blk.Image.Commit;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Snapshots;

/// <summary>
/// The bitmaps of a disk that becomes another one at once: those that record have every bit, as anything may have changed; the others
/// have what they had. Of a disk of another size, they are of that size.
/// </summary>
internal sealed class DirtiedBitmaps(SnapshotParts parts, BitmapEditor bitmaps, BitmapSet set)
{
    /// <summary>Goes with the write that makes the disk another one; its end has to be told.</summary>
    public DirectorySwitch Switch { get; } = new(parts, set);

    /// <summary>Writes what they will be.</summary>
    /// <param name="size">bytes of the disk that it becomes</param>
    /// <returns>why not; null if it can be switched to</returns>
    public async LoopTask<EditAnswer?> PrepareAsync(long size)
    {
        if (set.Damage is { } damage)
            return EditAnswer.Refused(EditResult.Failed, damage);
        var directory = set.Directory!.Copy();
        for (var index = 0; index < directory.Entries.Count; index++)
        {
            if (await ChangeAsync(directory, index, size) is { } refused)
                return refused;
        }

        return await Switch.PrepareAsync(directory);
    }

    private async LoopTask<EditAnswer?> ChangeAsync(BitmapDirectoryBytes directory, int index, long size)
    {
        var entry = directory.Entries[index];
        var isResized = size != parts.Geometry.DiskSize;
        var isValid = !entry.Flags.HasFlag(BitmapFlags.InUse);
        var records = entry.Flags.HasFlag(BitmapFlags.Auto);
        if (isResized && !isValid)
        {
            return EditAnswer.Refused(
                EditResult.Failed, $"bitmap \"{entry.Name}\" is inconsistent and cannot be resized", "remove it first");
        }

        if (!isResized && !(isValid && records))
            return null;
        var (before, why) = await bitmaps.TryLoadAsync(entry);
        if (before is null && isResized)
            return EditAnswer.Refused(EditResult.Failed, why!, "remove it first");
        if (before is null)
        {
            // Nobody could read what it says.
            directory.SetFlags(index, (entry.Flags | BitmapFlags.InUse) & ~BitmapFlags.Auto);
            return null;
        }

        var shape = new BitmapShape(size, entry.GranularityBits);
        if (shape.Refusal() is { } tooLarge)
            return EditAnswer.Refused(EditResult.Failed, $"bitmap \"{entry.Name}\": {tooLarge}", "remove it first");
        Switch.Replaced.Add(before);
        using var bits = new DirtyBitmap(shape, BitmapMemory.OfProcess(shape.Bits));
        if (records)
            bits.Set(0, shape.Bits);
        else if (await AddAsync(bits, entry) is var unread and < 0)
            return EditAnswer.OfErrno(unread, $"cannot read bitmap \"{entry.Name}\"");
        var stored = StoredBitmap.New(entry.Name, shape, parts.Geometry.ClusterBits);
        if (await set.WriteNewAsync(stored, bits) is var unwritten and < 0)
            return EditAnswer.OfErrno(unwritten, $"cannot write bitmap \"{entry.Name}\"");
        Switch.Made.Add(stored);
        directory.SetTable(index, stored.TableOffset, stored.Clusters);
        return null;
    }

    private async LoopTask<int> AddAsync(DirtyBitmap bits, BitmapEntry entry)
    {
        var (error, read) = await set.ReadAsync(entry);
        using (read)
        {
            if (error == 0)
                bits.Merge(read!);
        }

        return error;
    }
}
