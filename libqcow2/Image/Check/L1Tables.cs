using System.Collections.Generic;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Check;

/// <summary>Reads L1 tables, active and of snapshots, counts them and what they name.</summary>
internal sealed class L1Tables(ImageUnderCheck image, RefcountTable refcounts)
{
    private readonly L2TableList _tables = new();

    // Snapshots that were not changed since may share nothing of their L1 tables, a hostile image's all of them.
    private readonly Dictionary<(long Offset, int Entries), long> _snapshots = [];

    public L2TableList Tables => _tables;

    /// <summary>A snapshot's L1 table, to be read by <see cref="ReadSnapshotsAsync"/>.</summary>
    public void AddSnapshot(long offset, int entries)
    {
        if (entries > 0)
            _snapshots[(offset, entries)] = _snapshots.GetValueOrDefault((offset, entries)) + 1;
    }

    public LoopTask<int> ReadActiveAsync() => ReadAsync(image.Header.L1TableOffset.Value, image.Header.L1Size, 1, active: true);

    public async LoopTask<int> ReadSnapshotsAsync()
    {
        foreach (var ((offset, entries), times) in _snapshots)
        {
            var error = await ReadAsync(offset, entries, times, active: false);
            if (error < 0 || image.Result.Stopped is not null)
                return error;
        }

        return 0;
    }

    private async LoopTask<int> ReadAsync(long offset, int entries, long times, bool active)
    {
        var bytes = (long)entries * sizeof(ulong);
        if (bytes == 0)
            return 0;
        image.Count(offset, bytes, active ? CheckSubject.Header : CheckSubject.SnapshotTable, times);
        image.Tables.Add((offset, offset + bytes));
        if (!image.MayRead(bytes))
            return 0;
        using var pieces = new TablePieces(image.File);
        pieces.Begin(offset, bytes);
        int count;
        while ((count = await pieces.NextAsync()) > 0)
        {
            for (var index = 0; index < count / sizeof(ulong); index++)
            {
                if (pieces[index] != 0)
                    AddEntry(pieces[index], pieces.Offset + index * sizeof(ulong), times, active);
            }
        }

        return count;
    }

    private void AddEntry(ulong raw, long at, long times, bool active)
    {
        if (L1Entry.HasReservedBits(raw))
            image.Result.Error(CheckSubject.L1Table, at, times, $"L1 entry 0x{raw:x} at 0x{at:x} has reserved bits set");
        var entry = L1Entry.Decode(raw);
        var table = entry.Offset.Value;
        image.Count(table, image.ClusterSize, CheckSubject.L1Table, times);
        if ((table & image.ClusterMask) != 0)
            image.Result.Error(CheckSubject.L1Table, at, times, $"L1 entry at 0x{at:x}: L2 table 0x{table:x} is not aligned to a cluster");
        _tables.Add(table, times, active);
        if (active && table != 0)
            ActiveEntries?.Check(entry, at, refcounts);
    }

    /// <summary>Looks at the COPIED flag of the active entries; null: nobody does.</summary>
    public CopiedCheck? ActiveEntries { get; init; }
}
