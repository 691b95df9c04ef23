using System;
using System.Numerics;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Space;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Change;

/// <summary>A range of the disk that lies in host clusters now.</summary>
internal readonly record struct FilledRange(GuestOffset Start, GuestOffset End);

/// <summary>
/// Copy on write: writes the guest's bytes and whatever else must be around them in clusters that are not published yet, or in
/// subclusters that nobody sees yet. What surrounds them is whole subclusters, and what a cluster that is replaced held.
/// </summary>
internal sealed class ClusterFill(ChangeParts parts)
{
    // Above this, zeroing the clusters in the file is cheaper than writing that many zeroes.
    private const int LargestAssembledZeroFill = 64 * 1024;

    private readonly Geometry _geometry = parts.Context.Geometry;

    /// <summary>Fills clusters around a write; their guest clusters are locked.</summary>
    /// <param name="offset">of the write on the disk</param>
    /// <param name="data">its bytes, which end within the run</param>
    /// <param name="run">where the clusters are that hold the write, the first one that of <paramref name="offset"/></param>
    /// <param name="reuse">whether the run is what the cluster has already: then its data stays where it is</param>
    /// <returns>0 or a negative errno, and what is there now</returns>
    public async LoopTask<(int Error, FilledRange Filled)> FillAsync(GuestOffset offset, NativeBuffer data, HostRun run, bool reuse)
    {
        var end = offset + data.Length;
        var tables = parts.Map.Tables;
        var slot = await tables.LoadAsync(tables.KeyOf(_geometry.ClusterOf(offset)));
        if (slot < 0)
            return (slot == SlicedTables.Absent ? -Errno.EIO : slot, default);
        var first = tables.Entry(slot, _geometry.ClusterOf(offset));
        var last = tables.Entry(slot, _geometry.ClusterOf(end - 1));
        var range = reuse ? RangeInside(first, offset, end) : RangeAround(first, last, offset, end);
        var isZero = ReadsAsZero(first, range.Start, offset) && ReadsAsZero(last, end, range.End);
        var error = await WriteAsync(offset, data, run, range, isZero, reuse);
        return (error, range);
    }

    /// <summary>What new clusters must hold: whole subclusters, and all that is in a cluster they replace.</summary>
    private FilledRange RangeAround(in L2Entry first, in L2Entry last, GuestOffset offset, GuestOffset end)
    {
        var start = offset.RoundDown(_geometry.SubclusterSize);
        var stop = end.RoundUp(_geometry.SubclusterSize);
        if (_geometry.HasExtendedL2)
        {
            var firstHeld = first.Kind == L2Kind.Compressed ? 0 : BitOperations.TrailingZeroCount(first.Allocated);
            start = GuestOffset.Min(start, StartOfCluster(offset) + ((long)firstHeld << _geometry.SubclusterBits));
            var heldEnd = last.Kind == L2Kind.Compressed ? 32 : 32 - BitOperations.LeadingZeroCount(last.Allocated);
            stop = GuestOffset.Max(stop, StartOfCluster(end - 1) + ((long)heldEnd << _geometry.SubclusterBits));

            // A device may have larger sectors than subclusters.
            start = start.RoundDown(parts.Data.Alignment);
            stop = stop.RoundUp(parts.Data.Alignment);
        }

        return new FilledRange(start, Clip(stop, end));
    }

    /// <summary>
    /// What is written of a cluster that stays where it is: nothing of a subcluster that is there already but the write itself.
    /// </summary>
    private FilledRange RangeInside(in L2Entry entry, GuestOffset offset, GuestOffset end)
    {
        var start = IsData(entry, offset) ? offset : offset.RoundDown(_geometry.SubclusterSize);
        var stop = IsData(entry, end - 1) ? end : end.RoundUp(_geometry.SubclusterSize);
        return new FilledRange(start, Clip(stop, end));
    }

    /// <summary>A data file is not made longer than the disk.</summary>
    private GuestOffset Clip(GuestOffset stop, GuestOffset end) => _geometry.HasDataFile
        ? GuestOffset.Min(stop, GuestOffset.Max(end, new GuestOffset(_geometry.DiskSize).RoundUp(parts.Data.Alignment)))
        : stop;

    private GuestOffset StartOfCluster(GuestOffset offset) => offset - _geometry.Within(offset);

    private bool IsData(in L2Entry entry, GuestOffset offset) => entry.KindAt(_geometry.Subcluster(offset), _geometry) == L2Kind.Data;

    /// <summary>Whether a range within one cluster reads as zeroes before the write.</summary>
    private bool ReadsAsZero(in L2Entry entry, GuestOffset from, GuestOffset to)
    {
        while (from < to)
        {
            var subcluster = _geometry.Subcluster(from);
            var isZero = entry.KindAt(subcluster, _geometry) switch
            {
                L2Kind.Zero or L2Kind.ZeroAllocated => true,
                L2Kind.Unallocated => !parts.Map.HasBackingAt(from),
                _ => false,
            };
            if (!isZero)
                return false;
            var next = (long)(subcluster + entry.RunAt(subcluster, _geometry)) << _geometry.SubclusterBits;
            from = StartOfCluster(from) + next;
        }

        return true;
    }

    private async LoopTask<int> WriteAsync(GuestOffset offset, NativeBuffer data, HostRun run, FilledRange range, bool isZero, bool reuse)
    {
        var end = offset + data.Length;
        var host = run.Offset + _geometry.Within(offset);
        var isAligned = ((offset.Value | (uint)data.Length) & (parts.Data.Alignment - 1)) == 0;
        if (isAligned && ((range.Start == offset && range.End == end) || (isZero && run.Fresh && parts.Context.NewClustersAreZeroes)))
            return await parts.Data.WriteHostAsync(host, data);

        // A subcluster that is there already, within the range, must not show zeroes for a moment.
        var isLarge = Math.Max(offset - range.Start, range.End - end) > LargestAssembledZeroFill;
        if (isAligned && isZero && isLarge && !(reuse && _geometry.HasExtendedL2))
        {
            var error = await parts.Data.ZeroHostAsync(host - (offset - range.Start), range.End - range.Start);
            return error < 0 ? error : await parts.Data.WriteHostAsync(host, data);
        }

        return await AssembleAsync(offset, data, host, range);
    }

    /// <summary>Old bytes, new bytes, old bytes, in one buffer and one write.</summary>
    private async LoopTask<int> AssembleAsync(GuestOffset offset, NativeBuffer data, HostOffset host, FilledRange range)
    {
        var pool = LoopScheduler.Current.Buffers;
        var whole = pool.Rent(checked((int)(range.End - range.Start)));
        var head = (int)(offset - range.Start);
        var group = TaskGroup.Rent();
        if (head > 0)
            group.Add(parts.Data.ReadAsync(range.Start, whole.Slice(0, head)));
        var tail = (int)(range.End - offset) - data.Length;
        if (tail > 0)
            group.Add(ReadTailAsync(offset + data.Length, whole.Slice(head + data.Length)));
        data.Span.CopyTo(whole.Span[head..]);
        var error = await group.WaitAsync();
        if (error == 0)
            error = await parts.Data.WriteHostAsync(host - head, whole);
        pool.Return(whole);
        return error;
    }

    /// <summary>The last cluster goes on behind the end of the disk, with zeroes.</summary>
    private LoopTask<int> ReadTailAsync(GuestOffset offset, NativeBuffer buffer)
    {
        var onDisk = (int)Math.Clamp(parts.Map.Size - offset.Value, 0, buffer.Length);
        buffer.Slice(onDisk).Clear();
        return onDisk == 0 ? new LoopTask<int>(0) : parts.Data.ReadAsync(offset, buffer.Slice(0, onDisk));
    }
}
