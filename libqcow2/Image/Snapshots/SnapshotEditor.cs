using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Snapshots;

/// <summary>
/// Internal snapshots, with the rules of qemu. Each of these runs as an edit: all is committed, and nobody uses the disk.
/// </summary>
/// <remarks>
/// What happens becomes true with one write, that of the header's sector. Before it, refcounts only grow and COPIED flags only
/// go, so a power cut leaves leaks, and flags that are missing where nothing is shared. After it, refcounts fall and flags come back.
/// </remarks>
internal sealed partial class SnapshotEditor(SnapshotParts parts)
{
    private readonly ImageContext _context = parts.Context;

    private Header Header => _context.Header;

    /// <summary>What becomes true with the same write as the snapshot, or its end: it is in the file, and is committed with it.</summary>
    public BitmapsSwitch? Bitmaps { get; init; }

    /// <summary>What becomes of bitmaps when the disk becomes another one; needed to go back, if there are any.</summary>
    public DirtiedBitmaps? Dirtied { get; init; }

    /// <summary>Keeps the disk as it is now, in one step: nobody uses it meanwhile.</summary>
    /// <param name="name">of the snapshot; need not be unique, as in qemu</param>
    /// <param name="taken">when</param>
    public async LoopTask<EditAnswer> CreateAsync(string name, DateTimeOffset taken)
    {
        var creation = new SnapshotCreation(parts, name, taken) { Bitmaps = Bitmaps };
        var answer = await creation.BeginAsync();
        if (answer.Succeeded)
            answer = await creation.CountAsync(inTurns: false);
        if (answer.Succeeded)
            answer = await creation.PublishAsync();
        await creation.EndAsync();
        return answer;
    }

    /// <summary>Forgets a snapshot.</summary>
    /// <param name="which">its ID or name</param>
    public async LoopTask<EditAnswer> DeleteAsync(string which)
    {
        var (refusal, found, index, l1) = await LoadAsync(which);
        if (refusal is { } refused)
            return refused;
        var entry = found.Entries[index];
        var remaining = found.Raw.Where((_, i) => i != index).ToList();
        var error = await ReplaceTableAsync(found, SnapshotTableBytes.Join(remaining)!, remaining.Count);
        if (error < 0)
            return EditAnswer.OfErrno(error, "cannot write the snapshot table");

        // It is gone, whatever comes now; what goes wrong leaks.
        parts.Free(entry.L1TableOffset.Value, (long)entry.L1Size * sizeof(ulong));
        var walk = parts.NewWalk(WalkKind.Drop);
        error = await walk.RunAsync(l1);
        if (error == 0)
            error = await parts.CommitAsync();
        if (error == 0)
            error = await parts.FlagActiveAsync();
        return error == 0 ? EditAnswer.Done
            : EditAnswer.Done with { Note = $"its clusters leak: {walk.Refusal ?? Errno.Text(error)}" };
    }

    /// <summary>Writes a table to a new place, brings all to disk, and lets the header point to it.</summary>
    private async LoopTask<int> ReplaceTableAsync(FoundTable found, byte[] table, int count)
    {
        long offset = 0;
        if (count > 0)
        {
            offset = await parts.WriteNewAsync(table);
            if (offset < 0)
                return (int)offset;
        }

        var error = await parts.CommitAsync();
        if (error < 0)
        {
            if (count > 0)
                await parts.ReleaseAsync(offset, table.Length);
            return error;
        }

        error = await parts.SwitchAsync(_context.HeaderBlock.SetSnapshotsAsync(new HostOffset(offset), count, Bitmaps));
        if (error < 0)
            return error;

        if (count > 0)
            parts.Protect(offset, table.Length);
        if (found.Entries.Count > 0)
            parts.Free(Header.SnapshotsOffset.Value, found.Bytes);
        return 0;
    }

    private static EditAnswer? Find(IReadOnlyList<SnapshotEntry> entries, string which, out int index)
    {
        index = -1;
        for (var i = 0; i < entries.Count; i++)
        {
            if (entries[i].Id != which && entries[i].Name != which)
                continue;
            if (index >= 0)
            {
                return EditAnswer.Refused(EditResult.Invalid,
                    $"\"{which}\" could be snapshot {entries[index].Id} (\"{entries[index].Name}\")"
                        + $" or {entries[i].Id} (\"{entries[i].Name}\")",
                    "say it by an ID or a name that only one of them has");
            }

            index = i;
        }

        return index < 0 ? EditAnswer.Refused(EditResult.NotFound, $"there is no snapshot with ID or name \"{which}\"") : null;
    }

    /// <summary>The snapshot that is meant, and its L1 table; or why there is none to work on.</summary>
    private async LoopTask<(EditAnswer? Refusal, FoundTable Found, int Index, ulong[] L1)> LoadAsync(string which)
    {
        if (parts.RefuseImage() is { } unsuitable)
            return (unsuitable, default!, 0, []);
        var (error, found) = await parts.ReadTableAsync();
        if (error < 0)
            return (EditAnswer.OfErrno(error, "cannot read the snapshot table"), found, 0, []);
        if (Find(found.Entries, which, out var index) is { } missing)
            return (missing, found, 0, []);
        var entry = found.Entries[index];
        entry.CheckL1(Header, _context.File.Length);
        (error, var l1) = await parts.ReadL1Async(entry.L1TableOffset, entry.L1Size);
        return (error < 0 ? EditAnswer.OfErrno(error, "cannot read its L1 table") : null, found, index, l1);
    }
}
