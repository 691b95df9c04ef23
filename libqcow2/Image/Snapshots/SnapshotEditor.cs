using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;
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

    /// <summary>Keeps the disk as it is now.</summary>
    /// <param name="name">of the snapshot; need not be unique, as in qemu</param>
    /// <param name="taken">when</param>
    public async LoopTask<EditAnswer> CreateAsync(string name, DateTimeOffset taken)
    {
        if (RefuseImage() is { } unsuitable)
            return unsuitable;
        var nameLength = Encoding.UTF8.GetByteCount(name);
        if (nameLength > ushort.MaxValue)
            return EditAnswer.Refused(EditResult.Invalid, $"a snapshot's name has at most {ushort.MaxValue} bytes, this one {nameLength}");
        var (error, found) = await ReadTableAsync();
        if (error < 0)
            return EditAnswer.OfErrno(error, "cannot read the snapshot table");
        if (found.Entries.Count >= Limits.MaxSnapshots)
            return EditAnswer.Refused(EditResult.Failed, $"it has {found.Entries.Count} snapshots, which is the most there can be");
        var id = SnapshotTableBytes.NextId(found.Entries);
        var l1 = parts.ActiveL1();
        var draft = SnapshotTableBytes.Encode(new HostOffset(0), l1.Length, id, name, taken, parts.Geometry.DiskSize);
        if (SnapshotTableBytes.Join([.. found.Raw, draft]) is not { } table)
            return EditAnswer.Refused(EditResult.Failed, $"its snapshot table would have more than {Limits.MaxSnapshotTableBytes} bytes");
        var answer = await CreateAsync(found, l1, table, offset =>
            SnapshotTableBytes.Encode(offset, l1.Length, id, name, taken, parts.Geometry.DiskSize));
        return answer.Succeeded ? answer with { Json = SnapshotList.ToJson(id, name) } : answer;
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

    /// <param name="found">the snapshots there are</param>
    /// <param name="l1">the active L1 table</param>
    /// <param name="table">the next snapshot table, but for where the new L1 table is</param>
    /// <param name="entry">gives the new entry when that is known</param>
    private async LoopTask<EditAnswer> CreateAsync(FoundTable found, ulong[] l1, byte[] table, Func<HostOffset, byte[]> entry)
    {
        var share = parts.NewWalk(WalkKind.Share, ofActive: true);
        var error = await share.RunAsync(l1);
        long copy = 0;
        if (error == 0)
        {
            // Without COPIED flags: both tables share all of it.
            parts.SetActiveL1(l1);
            copy = await parts.WriteNewAsync(SnapshotParts.BytesOf(l1));
            error = copy < 0 ? (int)copy : 0;
        }

        if (error == 0)
        {
            table = SnapshotTableBytes.Join([.. found.Raw, entry(new HostOffset(copy))])!;
            error = await ReplaceTableAsync(found, table, found.Raw.Count + 1);
        }

        if (error == 0)
        {
            parts.Protect(copy, (long)l1.Length * sizeof(ulong));
            return EditAnswer.Done;
        }

        // Once writing has stopped, what was counted leaks: the header may be the new one.
        if (_context.WriteError == 0)
        {
            if (copy > 0)
                await parts.ReleaseAsync(copy, (long)l1.Length * sizeof(ulong));
            await TakeBackAsync(parts.ActiveL1(), share.Count);
        }

        return share.Refusal is { } why ? EditAnswer.Refused(EditResult.Failed, why) : EditAnswer.OfErrno(error, "cannot write it");
    }

    /// <summary>What was counted is not used after all.</summary>
    private async LoopTask<int> TakeBackAsync(ulong[] l1, long count)
    {
        var error = count == 0 ? 0 : await parts.NewWalk(WalkKind.Drop).RunAsync(l1, count);
        if (error == 0)
            error = await parts.FlagActiveAsync();
        return error;
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

    private EditAnswer? RefuseImage() => parts.Geometry.HasDataFile
        ? EditAnswer.Refused(EditResult.Failed, "images with an external data file cannot have internal snapshots")
        : null;

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
        if (RefuseImage() is { } unsuitable)
            return (unsuitable, default!, 0, []);
        var (error, found) = await ReadTableAsync();
        if (error < 0)
            return (EditAnswer.OfErrno(error, "cannot read the snapshot table"), found, 0, []);
        if (Find(found.Entries, which, out var index) is { } missing)
            return (missing, found, 0, []);
        var entry = found.Entries[index];
        entry.CheckL1(Header, _context.File.Length);
        (error, var l1) = await parts.ReadL1Async(entry.L1TableOffset, entry.L1Size);
        return (error < 0 ? EditAnswer.OfErrno(error, "cannot read its L1 table") : null, found, index, l1);
    }

    private async LoopTask<(int Error, FoundTable Found)> ReadTableAsync()
    {
        if (Header.SnapshotCount == 0)
            return (0, new FoundTable([], [], 0));
        var pool = LoopScheduler.Current.Buffers;
        var table = pool.Rent(SnapshotTable.MaxBytes(Header.SnapshotCount, Header.SnapshotsOffset, _context.File.Length));
        try
        {
            var error = await _context.File.ReadAsync(Header.SnapshotsOffset.Value, table);
            if (error < 0)
                return (error, new FoundTable([], [], 0));
            var entries = SnapshotTable.Parse(table.Span, Header.SnapshotCount, _context.File.Path, out var bytes);
            return (0, new FoundTable(entries, SnapshotTableBytes.Split(table.Span, entries, bytes, parts.Geometry.DiskSize), bytes));
        }
        finally
        {
            pool.Return(table);
        }
    }

    /// <summary>The snapshot table as it is in the file.</summary>
    private sealed record FoundTable(IReadOnlyList<SnapshotEntry> Entries, List<byte[]> Raw, int Bytes);
}
