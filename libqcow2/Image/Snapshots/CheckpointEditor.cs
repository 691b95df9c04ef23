using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Bitmaps;
using Qcow2Blk.Image.Commit;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Snapshots;

/// <summary>
/// Checkpoints. One is an internal snapshot and a bitmap of the same name: the disk as it was, and what has changed since, up to the
/// next checkpoint. Each of these runs as an edit.
/// </summary>
/// <remarks>
/// Snapshot table and bitmap directory become others with one write of the header's sector. So there is a whole checkpoint or none,
/// whenever it ends; what was written for nothing leaks.
/// </remarks>
internal sealed class CheckpointEditor(SnapshotParts parts, BitmapEditor bitmaps, BitmapSet set)
{
    /// <summary>Keeps the disk as it is, freezes the bitmap of the last checkpoint, and starts one that records what comes now.</summary>
    /// <param name="name">of snapshot and bitmap</param>
    /// <param name="granularity">bytes that one bit stands for; null for what the bitmap before has, or for what qemu takes</param>
    /// <param name="taken">when</param>
    public async LoopTask<EditAnswer> CreateAsync(string name, long? granularity, DateTimeOffset taken)
    {
        if (await ReadAsync() is var (refused, found) && refused is { } why)
            return why;
        if (RefuseTaken(found, name) is { } isTaken)
            return isTaken;
        var directory = set.Directory?.Copy() ?? bitmaps.Empty();
        if (CheckpointList.Of(found, directory).LastOrDefault() is { } last)
        {
            var entry = directory.Entries[last.Bitmap];
            granularity ??= 1L << entry.GranularityBits;
            directory.SetFlags(last.Bitmap, entry.Flags & ~BitmapFlags.Auto);
        }

        var (notAdded, stored) = await bitmaps.AddToAsync(directory, name, granularity, records: true);
        if (notAdded is { } refusal)
            return refusal;
        var next = new DirectorySwitch(parts, set);
        next.Made.Add(stored!);
        return await SwitchAsync(next, directory, editor => editor.CreateAsync(name, taken));
    }

    /// <summary>
    /// Forgets a checkpoint. What its bitmap has is added to that of the checkpoint before, which goes on recording if this one did: so
    /// what changed since an earlier checkpoint is known as before.
    /// </summary>
    public async LoopTask<EditAnswer> DeleteAsync(string name)
    {
        if (await ReadAsync() is var (refused, found) && refused is { } why)
            return why;
        var directory = set.Directory?.Copy() ?? bitmaps.Empty();
        var checkpoints = CheckpointList.Of(found, directory);
        var index = checkpoints.FindIndex(checkpoint => checkpoint.Name == name);
        if (index < 0)
            return EditAnswer.Done with { Note = $"there is no checkpoint \"{name}\"" };
        var before = index > 0 ? checkpoints[index - 1] : null;
        if (RefuseShown(name, before?.Name) is { } isShown)
            return isShown;
        var next = new DirectorySwitch(parts, set);
        if (before is not null && await MergeAsync(directory, before.Bitmap, checkpoints[index].Bitmap, next) is { } notMerged)
            return notMerged;
        var (stored, leak) = await bitmaps.TryLoadAsync(directory.Entries[checkpoints[index].Bitmap]);
        if (stored is not null)
            next.Replaced.Add(stored);
        directory.Remove(checkpoints[index].Bitmap);
        var answer = await SwitchAsync(next, directory, editor => editor.DeleteAsync(checkpoints[index].Id));
        return answer.Succeeded && leak is not null ? answer with { Note = $"clusters of its bitmap leak: {leak}" } : answer;
    }

    /// <param name="directory">to be the next</param>
    /// <param name="target">index of the bitmap that gets the bits</param>
    /// <param name="source">index of the bitmap that has them</param>
    /// <param name="next">gets what is made and replaced</param>
    /// <returns>why not; null if it is done</returns>
    private async LoopTask<EditAnswer?> MergeAsync(BitmapDirectoryBytes directory, int target, int source, DirectorySwitch next)
    {
        var (into, from) = (directory.Entries[target], directory.Entries[source]);
        if ((into.Flags | from.Flags).HasFlag(BitmapFlags.InUse))
        {
            // What changed since the checkpoint before is not known any more: its bitmap says so.
            directory.SetFlags(target, (into.Flags | BitmapFlags.InUse) & ~BitmapFlags.Auto);
            return null;
        }

        DirtyBitmap? bits = null;
        DirtyBitmap? added = null;
        try
        {
            (var error, bits) = await set.ReadAsync(into);
            if (error == 0)
                (error, added) = await set.ReadAsync(from);
            if (error < 0)
                return EditAnswer.OfErrno(error, "cannot read its bitmap");
            bits!.Merge(added!);
            var (refused, before, stored) = await bitmaps.PutContentAsync(directory, target, bits);
            if (refused is not null)
                return refused;
            next.Made.Add(stored!);
            next.Replaced.Add(before!);
            directory.SetFlags(target, into.Flags | (from.Flags & BitmapFlags.Auto));
            return null;
        }
        finally
        {
            bits?.Dispose();
            added?.Dispose();
        }
    }

    /// <summary>Lets the image have another directory, and what an edit of snapshots makes of it, with one write.</summary>
    /// <param name="next">to be switched to</param>
    /// <param name="directory">the next one</param>
    /// <param name="edit">of the snapshots; writes the header when all else is on disk</param>
    private async LoopTask<EditAnswer> SwitchAsync(
        DirectorySwitch next, BitmapDirectoryBytes directory, Func<SnapshotEditor, LoopTask<EditAnswer>> edit)
    {
        var answer = await next.PrepareAsync(directory)
            ?? await edit(new SnapshotEditor(parts) { Bitmaps = next.Value });
        var error = await next.EndAsync(answer.Succeeded);
        return error < 0 && answer.Succeeded ? answer with { Note = $"the header keeps an extension: {Errno.Text(error)}" } : answer;
    }

    private EditAnswer? RefuseTaken(IReadOnlyList<SnapshotEntry> snapshots, string name) =>
        name.All(char.IsAsciiDigit) && name.Length > 0
            ? EditAnswer.Refused(EditResult.Invalid, "a number may be the ID of a snapshot", "choose a name with a letter in it")
        : snapshots.Any(snapshot => snapshot.Name == name || snapshot.Id == name)
            ? Exists($"there is a snapshot \"{name}\" already")
        : set.Directory?.Find(name) >= 0 ? Exists($"there is a bitmap \"{name}\" already")
        : null;

    private static EditAnswer Exists(string why) => EditAnswer.Refused(EditResult.Failed, why) with { Error = -Errno.EEXIST };

    private EditAnswer? RefuseShown(params string?[] names) =>
        names.FirstOrDefault(name => name is not null && set.IsShown(name)) is { } shown
            ? EditAnswer.Refused(EditResult.Busy, $"bitmap \"{shown}\" is exported")
            : null;

    private async LoopTask<(EditAnswer? Refused, IReadOnlyList<SnapshotEntry> Found)> ReadAsync()
    {
        if (set.Damage is { } damage)
            return (EditAnswer.Refused(EditResult.Failed, damage), []);
        var (error, found) = await new SnapshotEditor(parts).ListAsync();
        return (error < 0 ? EditAnswer.OfErrno(error, "cannot read the snapshot table") : null, found);
    }
}
