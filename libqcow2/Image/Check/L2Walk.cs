using System;
using System.Collections.Generic;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Check;

/// <summary>Reads L2 tables and counts what they refer to.</summary>
internal sealed class L2Walk(ImageUnderCheck image, RefcountTable refcounts)
{
    private readonly DescriptorRules _rules = image.Rules;
    private readonly int _bits = image.ClusterBits;

    // Where the next cluster of the table would be if it followed the one before it.
    private long _expected;

    /// <summary>Looks at COPIED in active tables; null: nobody does.</summary>
    public CopiedCheck? Copied { get; init; }

    /// <summary>Collects entries that a repair may turn into zeroes; null: they are only reported.</summary>
    public List<long>? MayBecomeZero { get; init; }

    /// <summary>What else is wrong with the entries that may become zeroes: it goes with them.</summary>
    public long ErrorsOfZeroed { get; private set; }

    public async LoopTask<int> RunAsync(IReadOnlyList<L2TableUse> tables)
    {
        using var pieces = new L2Reader(image.File, image.ClusterSize);
        for (var index = 0; index < tables.Count && image.Result.Stopped is null;)
        {
            image.Progress?.Invoke("checking", Examination.RefcountShare + (1 - Examination.RefcountShare) * index / tables.Count);
            if (!image.MayRead(image.ClusterSize))
                return 0;
            var count = await pieces.ReadAsync(tables, index);
            if (count < 0)
                return count;
            for (var end = index + count; index < end; index++)
                Table(pieces, tables[index]);
        }

        return 0;
    }

    private void Table(L2Reader pieces, in L2TableUse table)
    {
        var bytes = pieces.Bytes(table.Offset);
        _expected = 0;
        var step = _rules.EntryBytes;
        var position = 0;
        while (position < bytes.Length)
        {
            // Most of what is empty is empty for long.
            var skip = bytes[position..].IndexOfAnyExcept((byte)0);
            if (skip < 0)
                return;
            position += skip / step * step;
            var entry = ClusterDescriptor.Decode(bytes[position..], _rules);
            if (entry.HasCluster)
                Cluster(entry, table, table.Offset + position);
            else
                Other(entry, table, table.Offset + position);
            position += step;
        }
    }

    private void Cluster(in ClusterDescriptor entry, in L2TableUse table, long at)
    {
        var host = entry.Host.Value;
        var errors = image.Result.Errors;
        if (entry.HasReservedBits)
            Reserved(entry, table, at);
        if ((entry.Allocated & entry.Zeroes) != 0)
        {
            image.Result.Error(CheckSubject.L2Entry, at, table.Times,
                $"L2 entry {entry} at 0x{at:x}: subclusters are both allocated and zeroes");
        }

        if ((host & image.ClusterMask) != 0 && IsRepairable(entry, table, at))
        {
            ErrorsOfZeroed += image.Result.Errors - errors;
            return;
        }

        if (table.ActiveTimes > 0)
        {
            image.Result.AllocatedClusters += table.ActiveTimes;
            if (_expected != 0 && host != _expected)
                image.Result.FragmentedClusters += table.ActiveTimes;
            _expected = host + image.ClusterSize;
            if (Copied is not null && !Copied.Skips(table.Offset) && table.Offset != 0)
                CheckCopied(entry, table, at);
        }

        if (_rules.HasDataFile)
            return;
        if ((host & image.ClusterMask) == 0 && host + image.ClusterSize <= image.FileLength && table.Times == 1)
            image.CountCluster((int)(host >> _bits), 1);
        else
            image.Count(host, image.ClusterSize, CheckSubject.L2Entry, table.Times);
    }

    private void CheckCopied(in ClusterDescriptor entry, in L2TableUse table, long at)
    {
        if (!_rules.HasDataFile)
        {
            Copied!.Check(entry.Host.Value, entry.IsCopied, at, table.ActiveTimes, refcounts);
        }
        else if (!entry.IsCopied)
        {
            image.Result.Error(CheckSubject.CopiedFlag, at, table.ActiveTimes,
                $"COPIED of the entry at 0x{at:x} is clear, though its cluster in the data file is nobody else's");
        }
    }

    /// <summary>A cluster where none can be. Nothing of it is read if it is zeroes, so that it may be given up.</summary>
    private bool IsRepairable(in ClusterDescriptor entry, in L2TableUse table, long at)
    {
        var holdsData = entry.HoldsData(_rules);
        if (holdsData || MayBecomeZero is null)
        {
            image.Result.Error(CheckSubject.L2Entry, at, table.Times,
                $"L2 entry {entry} at 0x{at:x}: {(holdsData ? "data" : "preallocated")} cluster 0x{entry.Host.Value:x} is not aligned");
            return false;
        }

        MayBecomeZero.Add(at);
        return true;
    }

    private void Other(in ClusterDescriptor entry, in L2TableUse table, long at)
    {
        if (entry.Kind == L2Kind.Compressed)
            Compressed(entry, table, at);
        else if (entry.HasReservedBits)
            Reserved(entry, table, at);
        if (entry.Kind == L2Kind.Unallocated && entry.Allocated != 0)
        {
            image.Result.Error(CheckSubject.L2Entry, at, table.Times,
                $"L2 entry {entry} at 0x{at:x}: subclusters are allocated, but no cluster");
        }
    }

    private void Compressed(in ClusterDescriptor entry, L2TableUse table, long at)
    {
        if (entry.IsCopied)
            image.Result.Error(CheckSubject.L2Entry, at, table.Times, $"L2 entry {entry} at 0x{at:x} is compressed and has COPIED set");
        if (_rules.HasDataFile)
            Error("is compressed, in an image with a data file");
        else if ((entry.Allocated | entry.Zeroes) != 0)
            Error("is compressed and has subclusters");
        else
            CountCompressed(entry, table);

        void Error(string what) =>
            image.Result.Error(CheckSubject.L2Entry, at, table.Times, $"L2 entry at 0x{at:x} {what}");
    }

    private void CountCompressed(in ClusterDescriptor entry, in L2TableUse table)
    {
        var (offset, length) = entry.CompressedRange(_rules);
        image.Count(offset, length, CheckSubject.L2Entry, table.Times);
        image.Result.AllocatedClusters += table.ActiveTimes;
        image.Result.CompressedClusters += table.ActiveTimes;
        image.Result.FragmentedClusters += table.ActiveTimes;
    }

    private void Reserved(in ClusterDescriptor entry, in L2TableUse table, long at) =>
        image.Result.Error(CheckSubject.L2Entry, at, table.Times, $"L2 entry {entry} at 0x{at:x} has reserved bits set");
}
