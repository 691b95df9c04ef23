using System;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Map;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Opening;

/// <summary>Reading, the way that takes care of everything.</summary>
internal sealed partial class Qcow2Image
{
    public async LoopTask<int> ReadAsync(long offset, NativeBuffer buffer)
    {
        if (CheckRange(offset, buffer.Length) is var refusal and < 0)
            return refusal;
        var parity = Epochs.Enter(0);
        var group = TaskGroup.Rent();
        var walk = ChainWalk.Rent(_layers);
        var error = 0;
        try
        {
            while (!buffer.IsEmpty)
            {
                var found = await LocateAsync(offset, buffer.Length, walk);
                if (found.Error < 0)
                {
                    error = found.Error;
                    break;
                }

                var done = StartRead(found, offset, buffer.Slice(0, (int)found.Length), group);
                offset += done;
                buffer = buffer.Slice(done);
            }
        }
        catch (InvariantBreach breach)
        {
            error = _context.Stop(breach);
        }

        // Whatever happened, nothing may write into the caller's buffer any more when this returns.
        var result = await group.WaitAsync();
        walk.Return();
        Epochs.Exit(0, parity);
        return error < 0 ? error : result;
    }

    /// <summary>Starts reading what one layer holds.</summary>
    /// <returns>how many bytes that covers</returns>
    private static int StartRead(in Layer found, long offset, NativeBuffer buffer, TaskGroup group)
    {
        switch (found.Disk)
        {
            case null:
                buffer.Clear();
                return buffer.Length;
            case Qcow2Image image:
                return image.StartReadOwn(found, offset, buffer, group);
            default:
                group.Add(found.Disk.ReadAsync(offset, buffer));
                return buffer.Length;
        }
    }

    /// <summary>Starts reading one run of clusters of this image that are alike.</summary>
    /// <returns>how many bytes it covers</returns>
    private int StartReadOwn(in Layer found, long offset, NativeBuffer buffer, TaskGroup group)
    {
        var cluster = offset >> _geometry.ClusterBits;
        var run = found.Kind switch
        {
            L2Kind.Data => ContiguousRun(found.Slot, cluster, offset, buffer.Length),
            L2Kind.Compressed => (int)Math.Min(buffer.Length, _geometry.ClusterSize - (offset & _geometry.ClusterMask)),
            _ => buffer.Length,
        };
        group.Add(ReadPartAsync(offset, buffer.Slice(0, run), _tables.Raw(found.Slot, cluster)));
        return run;
    }

    /// <summary>Reads a range whose entries are like <paramref name="raw"/>, the first one; data is contiguous, compressed is one
    /// cluster.</summary>
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
        {
            next++;
        }

        return (int)Math.Min(length, (next << _geometry.ClusterBits) - offset);
    }

    private int InvalidEntry(long offset, ulong raw) =>
        _context.Corrupt($"L2 entry 0x{raw:x} for guest offset 0x{offset & ~_geometry.ClusterMask:x} is not valid");
}
