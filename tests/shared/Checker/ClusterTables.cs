using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Tests.Shared.Checker;

/// <summary>
/// Walks L1 and L2 tables, active and of snapshots, and counts what they refer to. Every L2 table is walked once
/// however often L1 entries name it, so that the work goes with what the file stores, not with what tables claim.
/// </summary>
internal sealed class ClusterTables(IBlockStorage file, CheckedHeader header, ReferenceCounts counts, CheckResult result)
{
    private const ulong OffsetMask = 0x00FFFFFFFFFFFE00;
    private const ulong Copied = 1UL << 63;
    private const ulong Compressed = 1UL << 62;
    private const ulong ZeroFlag = 1;
    private const ulong L1Reserved = 0x7F000000000001FF;
    private const ulong L2Reserved = 0x3F000000000001FE;

    private readonly Dictionary<long, (int Weight, bool Active)> _tables = [];

    /// <summary>Refcounts as the image has them, for the COPIED check; null: the flags are not looked at.</summary>
    public StoredRefcounts? Stored { get; init; }

    /// <summary>Hears the fraction of the L2 tables that is walked.</summary>
    public Action<double>? Progress { get; init; }

    /// <summary>How many L2 tables were named.</summary>
    public int Count => _tables.Count;

    /// <summary>Offsets of the L2 tables that the active L1 table names.</summary>
    public IEnumerable<long> ActiveL2Tables => _tables.Where(table => table.Value.Active).Select(table => table.Key);

    /// <summary>Reads an L1 table and remembers the L2 tables that it names.</summary>
    public async LoopTask<int> AddL1Async(long offset, long entries, bool active)
    {
        if (!counts.AddTable(offset, entries * 8, ClusterUse.L1Table, CheckSubject.L1Table))
            return 0;
        using var pieces = new TablePieces(file);
        pieces.Begin(offset, entries * 8);
        int count;
        while ((count = await pieces.NextAsync()) > 0)
        {
            for (var index = 0; index < count / 8; index++)
                AddL1Entry(pieces[index], pieces.Offset + index * 8, active);
        }

        return count;
    }

    /// <summary>Walks all L2 tables that were named.</summary>
    public async LoopTask<int> WalkL2Async()
    {
        using var pieces = new TablePieces(file);
        var walked = 0;
        foreach (var (offset, (weight, active)) in _tables)
        {
            Progress?.Invoke((double)walked++ / _tables.Count);
            pieces.Begin(offset, header.ClusterSize);
            int count;
            while ((count = await pieces.NextAsync()) > 0)
            {
                for (var index = 0; index < count / header.L2EntrySize; index++)
                    AddL2Entry(pieces, index, weight, active);
            }

            if (count < 0)
                return count;
        }

        return 0;
    }

    private void AddL1Entry(ulong entry, long at, bool active)
    {
        if (entry == 0)
            return;
        if ((entry & L1Reserved) != 0)
            result.Error(CheckSubject.L1Table, at, $"L1 entry 0x{entry:x} at 0x{at:x} has reserved bits set");
        var table = (long)(entry & OffsetMask);
        if ((table & (header.ClusterSize - 1)) != 0)
        {
            result.Error(CheckSubject.L1Table, at, $"L2 table at 0x{table:x} is not aligned to a cluster");
            return;
        }

        if (!counts.Add(table, header.ClusterSize, ClusterUse.L2Table, CheckSubject.L1Table) || table == 0)
            return;
        if (active)
            CheckCopied(entry, table, at, "L2 table");
        var (weight, wasActive) = _tables.GetValueOrDefault(table);
        _tables[table] = (weight + 1, wasActive || active);
    }

    private void AddL2Entry(TablePieces table, int index, int weight, bool active)
    {
        var entry = table[index * header.L2EntrySize / 8];
        var at = table.Offset + (long)index * header.L2EntrySize;
        if ((entry & Compressed) != 0)
        {
            AddCompressed(entry, at, weight);
            return;
        }

        if ((entry & L2Reserved) != 0)
            result.Error(CheckSubject.L2Entry, at, $"L2 entry 0x{entry:x} at 0x{at:x} has reserved bits set");
        if (header.HasExtendedL2)
            CheckSubclusters(table[index * 2 + 1], entry, at);
        if (header.Version == 2 && (entry & ZeroFlag) != 0)
            result.Error(CheckSubject.L2Entry, at, $"L2 entry 0x{entry:x} at 0x{at:x} has the zero flag, which version 2 does not know");

        // With an external data file the data has no refcounts here.
        var host = (long)(entry & OffsetMask);
        if (host == 0 || header.HasExternalData)
            return;
        if ((host & (header.ClusterSize - 1)) != 0)
            result.Error(CheckSubject.L2Entry, at, $"data cluster at 0x{host:x} is not aligned to a cluster");
        if (!counts.Add(host, header.ClusterSize, ClusterUse.Data, CheckSubject.L2Entry, weight))
            return;
        if (active)
            CheckCopied(entry, host, at, "data cluster");
    }

    private void AddCompressed(ulong entry, long at, int weight)
    {
        // Bits from x on count the additional sectors, those below are the byte offset; x = 62 - (cluster_bits - 8).
        var x = 62 - (header.ClusterBits - 8);
        var host = (long)(entry & ((1UL << x) - 1));
        var sectors = (long)((entry & ~(Copied | Compressed)) >> x) + 1;
        if ((entry & Copied) != 0)
            result.Error(CheckSubject.L2Entry, at, $"L2 entry 0x{entry:x} at 0x{at:x} is compressed and has the COPIED flag");
        if (header.HasExternalData)
            result.Error(CheckSubject.L2Entry, at, $"L2 entry 0x{entry:x} at 0x{at:x} is compressed, but the data is in an external file");
        else
            counts.Add(host, sectors * 512 - (host & 511), ClusterUse.Data, CheckSubject.L2Entry, weight);
    }

    private void CheckSubclusters(ulong bitmap, ulong entry, long at)
    {
        var (allocated, zero) = ((uint)bitmap, (uint)(bitmap >> 32));
        if ((allocated & zero) != 0)
        {
            result.Error(CheckSubject.L2Entry, at, $"subclusters of the L2 entry at 0x{at:x} are both allocated and zero (0x{bitmap:x})");
        }
        else if (allocated != 0 && (entry & OffsetMask) == 0 && !header.HasExternalData)
        {
            result.Error(CheckSubject.L2Entry, at,
                $"subclusters of the L2 entry at 0x{at:x} are allocated without a cluster (0x{bitmap:x})");
        }
    }

    private void CheckCopied(ulong entry, long host, long at, string what)
    {
        if (Stored is null)
            return;
        var refcount = Stored[(int)(host >> header.ClusterBits)];
        var copied = (entry & Copied) != 0;
        if (copied != (refcount == 1))
        {
            result.Error(CheckSubject.CopiedFlag, at,
                $"COPIED flag of the entry at 0x{at:x} is {(copied ? "set" : "clear")}, but the {what} at 0x{host:x} has refcount"
                    + $" {refcount}");
        }
    }
}
