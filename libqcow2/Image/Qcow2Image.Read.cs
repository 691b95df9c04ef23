using System;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image;

/// <summary>Reading, the way that takes care of everything.</summary>
public sealed partial class Qcow2Image
{
    public async LoopTask<int> ReadAsync(long offset, NativeBuffer buffer)
    {
        if (CheckRange(offset, buffer.Length) is var refusal and < 0)
            return refusal;
        var parity = Epochs.Enter(0);
        var group = TaskGroup.Rent();
        var error = 0;
        while (!buffer.IsEmpty && error == 0)
        {
            var done = await ReadRunAsync(offset, buffer, group);
            if (done < 0)
            {
                error = done;
                break;
            }

            offset += done;
            buffer = buffer.Slice(done);
        }

        // Whatever happened, nothing may write into the caller's buffer any more when this returns.
        var result = await group.WaitAsync();
        Epochs.Exit(0, parity);
        return error < 0 ? error : result;
    }

    /// <summary>Starts reading one run of clusters that are alike.</summary>
    /// <returns>how many bytes it covers, or a negative errno</returns>
    private async LoopTask<int> ReadRunAsync(long offset, NativeBuffer buffer, TaskGroup group)
    {
        var cluster = offset >> _geometry.ClusterBits;
        var slot = await _tables.LoadToReadAsync(_tables.KeyOf(cluster));
        if (slot is < 0 and not SlicedTables.Absent)
            return slot;
        var run = (int)RunOfKind(slot, cluster, offset, buffer.Length, out var kind);
        if (kind is L2Kind.Data)
            run = ContiguousRun(slot, cluster, offset, run);
        else if (kind is L2Kind.Compressed)
            run = (int)Math.Min(run, _geometry.ClusterSize - (offset & _geometry.ClusterMask));
        var raw = slot == SlicedTables.Absent ? 0 : _tables.Raw(slot, cluster);
        group.Add(ReadPartAsync(offset, buffer.Slice(0, run), raw));
        return run;
    }

    /// <summary>Reads a range whose entries are like <paramref name="raw"/>, the first one; data is contiguous, compressed is one cluster.</summary>
    private LoopTask<int> ReadPartAsync(long offset, NativeBuffer buffer, ulong raw)
    {
        var entry = L2Entry.Decode(raw, _geometry);
        var within = offset & _geometry.ClusterMask;
        switch (entry.Kind)
        {
            case L2Kind.Data:
                return _file.ReadAsync(entry.Host.Value + within, buffer);
            case L2Kind.Compressed:
                return _compressed.ReadAsync(entry, (int)within, buffer);
            case L2Kind.Unallocated:
                return ReadBackingAsync(offset, buffer);
            case L2Kind.Invalid:
                return new LoopTask<int>(InvalidEntry(offset, raw));
            default:
                buffer.Clear();
                return new LoopTask<int>(0);
        }
    }

    private LoopTask<int> ReadBackingAsync(long offset, NativeBuffer buffer)
    {
        var there = _backing is null ? 0 : (int)Math.Clamp(_backing.Size - offset, 0, buffer.Length);
        buffer.Slice(there).Clear();
        return there == 0 ? new LoopTask<int>(0) : _backing!.ReadAsync(offset, buffer.Slice(0, there));
    }

    /// <summary>How much of <paramref name="length"/> lies in adjacent host clusters, in one slice.</summary>
    private int ContiguousRun(int slot, long cluster, long offset, int length)
    {
        var host = _tables.Entry(slot, cluster).Host.Value;
        var first = cluster << _geometry.ClusterBits;
        var next = cluster + 1;
        while ((next << _geometry.ClusterBits) - offset < length
            && _tables.Entry(slot, next).Host.Value == host + ((next << _geometry.ClusterBits) - first))
            next++;
        return (int)Math.Min(length, (next << _geometry.ClusterBits) - offset);
    }

    private int InvalidEntry(long offset, ulong raw) =>
        _context.Corrupt($"L2 entry 0x{raw:x} for guest offset 0x{offset & ~_geometry.ClusterMask:x} is not valid");
}
