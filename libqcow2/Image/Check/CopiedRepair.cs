using System;
using System.Collections.Generic;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Check;

/// <summary>
/// Sets and clears COPIED in the active tables as the refcounts say. First it is cleared where others have a share: a write in place
/// would harm them. It is set when the refcounts are what they should be.
/// </summary>
internal sealed class CopiedRepair(ImageUnderCheck image, IReadOnlyList<L2TableUse> tables, RepairWriter writer, TableGuard guard)
{
    private readonly DescriptorRules _rules = image.Rules;

    /// <summary>Flags that were changed.</summary>
    public long Changed { get; private set; }

    /// <summary>Flags that have to be changed, and were not yet.</summary>
    public long Left { get; private set; }

    /// <summary>Flags that cannot be changed: their table lies on other metadata.</summary>
    public long Refused { get; private set; }

    /// <param name="value">what to make of the flags that are not it and should be</param>
    /// <param name="refcountOf">the refcount that a cluster has, or is going to have</param>
    public async LoopTask<int> RunAsync(bool value, Func<int, uint> refcountOf)
    {
        Left = 0;
        var error = await L1Async(value, refcountOf);
        if (error < 0)
            return error;
        using var pieces = new L2Reader(image.File, image.ClusterSize);
        for (var index = 0; index < tables.Count;)
        {
            image.Progress?.Invoke("repairing", (double)index / tables.Count);
            var count = await pieces.ReadAsync(tables, index);
            if (count < 0)
                return count;
            for (var end = index + count; index < end; index++)
            {
                if (tables[index] is not { ActiveTimes: > 0, Offset: > 0 } table || pieces.Bytes(table.Offset).IsEmpty)
                    continue;
                error = await TableAsync(pieces, table.Offset, value, refcountOf);
                if (error < 0)
                    return error;
            }
        }

        return await writer.FlushAsync();
    }

    private async LoopTask<int> TableAsync(L2Reader pieces, long table, bool value, Func<int, uint> refcountOf)
    {
        var changed = Change(pieces.Bytes(table), value, refcountOf);
        if (changed == 0)
            return 0;
        if ((table & image.ClusterMask) != 0 || guard.Holds(table, image.ClusterSize))
        {
            // Where it is, it may not be written: some other table would be, too.
            Refused += changed;
            return 0;
        }

        Changed += changed;
        return await writer.WriteAsync(table, pieces.Buffer, pieces.Start(table), image.ClusterSize);
    }

    private int Change(Span<byte> table, bool value, Func<int, uint> refcountOf)
    {
        var changed = 0;
        for (var at = 0; at < table.Length; at += _rules.EntryBytes)
        {
            var entry = ClusterDescriptor.Decode(table[at..], _rules);
            if (!entry.HasCluster || entry.IsCopied == IsAlone(entry.Host.Value, refcountOf))
                continue;
            if (entry.IsCopied == value)
            {
                Left++;
                continue;
            }

            ClusterDescriptor.SetCopied(table[at..], value);
            changed++;
        }

        return changed;
    }

    private bool IsAlone(long host, Func<int, uint> refcountOf) =>
        _rules.HasDataFile || RefcountAt(host, refcountOf) == 1;

    private uint RefcountAt(long host, Func<int, uint> refcountOf) =>
        host >> image.ClusterBits < image.Clusters ? refcountOf((int)(host >> image.ClusterBits)) : 0;

    private async LoopTask<int> L1Async(bool value, Func<int, uint> refcountOf)
    {
        using var pieces = new TablePieces(image.File);
        pieces.Begin(image.Header.L1TableOffset.Value, (long)image.Header.L1Size * sizeof(ulong));
        int count;
        while ((count = await pieces.NextAsync()) > 0)
        {
            var changed = 0;
            for (var index = 0; index < count / sizeof(ulong); index++)
            {
                var entry = L1Entry.Decode(pieces[index]);
                if (entry.IsEmpty || entry.Copied == (RefcountAt(entry.Offset.Value, refcountOf) == 1))
                    continue;
                if (entry.Copied == value)
                {
                    Left++;
                    continue;
                }

                ClusterDescriptor.SetCopied(pieces.Bytes[(index * sizeof(ulong))..], value);
                changed++;
            }

            Changed += changed;
            var error = changed == 0 ? 0 : await writer.WriteAsync(pieces.Offset, pieces.Bytes.ToArray());
            if (error < 0)
                return error;
        }

        return count;
    }
}
