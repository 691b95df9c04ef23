using System;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Snapshots;

/// <summary>Going back to a snapshot.</summary>
internal sealed partial class SnapshotEditor
{
    /// <summary>
    /// Makes the disk what it was, of the size that it had. Afterwards the image can only be closed: all that is in memory is of
    /// the disk before.
    /// </summary>
    /// <param name="which">its ID or name</param>
    public async LoopTask<EditAnswer> RevertAsync(string which)
    {
        var (refusal, found, index, l1) = await LoadAsync(which);
        if (refusal is { } refused)
            return refused;
        var entry = found.Entries[index];
        var size = entry.DiskSize ?? (ulong)Header.Size;
        if (RefuseRevert(entry, size) is { } unsuitable)
            return unsuitable;
        if (Header.Bitmaps is not null && await Dirtied!.PrepareAsync((long)size) is { } notDirtied)
        {
            await Dirtied.Switch.EndAsync(switched: false);
            return notDirtied;
        }

        var dirtied = Header.Bitmaps is null ? null : Dirtied!.Switch;
        var before = parts.ActiveL1();
        var share = parts.NewWalk(WalkKind.Share);
        var error = await share.RunAsync(l1);
        long offset = 0;
        if (error == 0)
        {
            offset = await parts.WriteNewAsync(SnapshotParts.BytesOf(l1));
            error = offset < 0 ? (int)offset : await parts.CommitAsync();
        }

        if (error < 0)
        {
            if (_context.WriteError == 0)
                await TakeBackAsync(share, offset, l1);
            if (dirtied is not null)
                await dirtied.EndAsync(switched: false);
            return share.Refusal is { } why ? EditAnswer.Refused(EditResult.Failed, why) : EditAnswer.OfErrno(error, "cannot write it");
        }

        var active = new ActiveTable(new HostOffset(offset), l1.Length, (long)size);
        error = await parts.SwitchAsync(_context.HeaderBlock.SetActiveAsync(active, dirtied?.Value));
        if (error < 0)
            return EditAnswer.OfErrno(error, "cannot write the header");
        parts.Protect(offset, (long)l1.Length * sizeof(ulong));
        if (dirtied is not null)
            await dirtied.EndAsync(switched: true);
        return await DropAsync(before);
    }

    /// <summary>Nothing on disk names the tables of before any more; what goes wrong leaks.</summary>
    private async LoopTask<EditAnswer> DropAsync(ulong[] before)
    {
        foreach (var raw in before)
        {
            // What it reaches is given up as data is; the tables of the active state are protected from that.
            if (L1Entry.Decode(raw) is { IsEmpty: false } table && _context.Metadata!.Contains(table.Offset))
                _context.Metadata.Remove(table.Offset);
        }

        parts.Free(Header.L1TableOffset.Value, (long)before.Length * sizeof(ulong));
        var walk = parts.NewWalk(WalkKind.Drop);
        var error = await walk.RunAsync(before);
        if (error == 0)
            error = await parts.CommitAsync();
        return error == 0 ? EditAnswer.Done
            : EditAnswer.Done with { Note = $"clusters leak: {walk.Refusal ?? Interop.Errno.Text(error)}" };
    }

    private async LoopTask<int> TakeBackAsync(TableWalk share, long offset, ulong[] l1)
    {
        if (offset > 0)
            await parts.ReleaseAsync(offset, (long)l1.Length * sizeof(ulong));
        return share.Count == 0 ? 0 : await parts.NewWalk(WalkKind.Drop).RunAsync(l1, share.Count);
    }

    private EditAnswer? RefuseRevert(SnapshotEntry entry, ulong size)
    {
        if (size > Limits.MaxFileBytes || size % 512 != 0)
            return EditAnswer.Refused(EditResult.Failed, $"snapshot {entry.Id} is of a disk of {size} bytes, which cannot be");
        return Header.Version < 3 && size != (ulong)Header.Size
            ? EditAnswer.Refused(EditResult.Failed,
                $"snapshot {entry.Id} is of a disk of {size} bytes, this one has {Header.Size}, and images of version 2 with snapshots"
                    + " cannot be resized")
            : null;
    }
}
