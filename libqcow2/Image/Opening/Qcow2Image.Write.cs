using System;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Change;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Opening;

/// <summary>Writing: in place where the cluster is ours alone, else into new clusters that are published afterwards.</summary>
internal sealed partial class Qcow2Image
{
    // A run is assembled in one buffer when it must be filled up: this bounds the buffer (but for one larger cluster).
    private const int MaximumRunBytes = 2 << 20;

    private readonly WriteTurns _turns;
    private volatile bool _writePrepared;

    public async LoopTask<int> WriteAsync(long offset, NativeBuffer buffer, bool forceUnitAccess)
    {
        if (RefuseChange(offset, buffer.Length) is var refusal and < 0)
            return refusal;
        if (_options.DetectZeroes != DetectZeroes.Off && !buffer.Span.ContainsAnyExcept((byte)0))
        {
            var flags = _options.DetectZeroes == DetectZeroes.Unmap ? ZeroFlags.MayUnmap : ZeroFlags.None;
            return await WriteZeroesAsync(offset, buffer.Length, flags | (forceUnitAccess ? ZeroFlags.ForceUnitAccess : 0));
        }

        int error;
        _changes.Begin();
        try
        {
            error = await PrepareChangeAsync(offset, buffer.Length);
            if (error == 0)
                error = await WriteOrReclaimAsync(offset, buffer);
            _committer!.WriteBehind();
        }
        catch (InvariantBreach breach)
        {
            error = _context.Stop(breach);
        }

        _changes.End();
        return error == 0 && forceUnitAccess ? await FlushAsync() : error;
    }

    /// <summary>What was freed but not committed is no space yet: where there is none, that is made so, and tried once more.</summary>
    private async LoopTask<int> WriteOrReclaimAsync(long offset, NativeBuffer buffer)
    {
        var error = await WriteAnywhereAsync(offset, buffer);
        return error == -Errno.ENOSPC && await ReclaimAsync() ? await WriteAnywhereAsync(offset, buffer) : error;
    }

    /// <summary>Makes all that was freed available. Not from inside a request's epoch.</summary>
    /// <returns>whether there was anything</returns>
    private async LoopTask<bool> ReclaimAsync()
    {
        if (_frees!.IsEmpty || await FlushAsync() < 0)
            return false;
        await _frees.DrainAsync();
        return true;
    }

    private int RefuseChange(long offset, long length)
    {
        if (CheckRange(offset, length) is var refusal and < 0)
            return refusal;
        return ReadOnly ? -Errno.EPERM : _context.WriteError;
    }

    /// <summary>Writes a range of any alignment.</summary>
    private async LoopTask<int> WriteAnywhereAsync(long offset, NativeBuffer buffer)
    {
        _context.Log?.NoteAlive();
        if (((offset | (uint)buffer.Length) & (_file.OffsetAlignment - 1)) != 0)
            return await WriteUnalignedAsync(offset, buffer);
        var change = await _turns.BeginChangeAsync();
        var error = await WriteDataAsync(offset, buffer);
        _turns.EndChange(change);
        return error;
    }

    private async LoopTask<int> WriteDataAsync(long offset, NativeBuffer buffer)
    {
        var group = TaskGroup.Rent();
        var error = 0;
        try
        {
            while (!buffer.IsEmpty)
            {
                var done = await WriteRunAsync(offset, buffer, group);
                if (done < 0)
                {
                    error = done;
                    break;
                }

                offset += done;
                buffer = buffer.Slice(done);
            }
        }
        catch (InvariantBreach breach)
        {
            error = _context.Stop(breach);
        }

        var result = await group.WaitAsync();
        _context.NoteData();
        return error < 0 ? error : result;
    }

    /// <summary>Writes one run: starts it in <paramref name="group"/> when in place, else allocates and writes it.</summary>
    /// <returns>bytes covered; 0 to look again; or a negative errno</returns>
    private async LoopTask<int> WriteRunAsync(long offset, NativeBuffer buffer, TaskGroup group)
    {
        var cluster = offset >> _geometry.ClusterBits;
        var slot = await _tables.LoadAsync(_tables.KeyOf(cluster));
        if (slot is < 0 and not SlicedTables.Absent)
            return slot;

        // Reading the slice may have shown that the image is corrupt: then nothing is written any more.
        if (_context.WriteError != 0)
            return _context.WriteError;
        var entry = slot == SlicedTables.Absent ? default : _tables.Entry(slot, cluster);
        switch (entry.Kind)
        {
            case L2Kind.Invalid:
                return InvalidEntry(offset, _tables.Raw(slot, cluster));
            case L2Kind.Data when entry.Copied:
                var run = InPlaceRun(slot, cluster, offset, buffer.Length);
                group.Add(_file.WriteAsync(entry.Host.Value + (offset & _geometry.ClusterMask), buffer.Slice(0, run)));
                return run;
            default:
                return await WriteAllocatingAsync(offset, buffer);
        }
    }

    /// <summary>How much lies in adjacent host clusters that are all ours alone.</summary>
    private int InPlaceRun(int slot, long cluster, long offset, int length)
    {
        var sliceEnd = (_tables.KeyOf(cluster) + 1) << _geometry.SliceBits;
        var expected = _tables.Raw(slot, cluster);
        var next = cluster + 1;
        Invariant.Holds((expected & L2Entry.CopiedFlag) != 0, "only a cluster that nothing else uses is written in place", cluster,
            (long)expected);
        if (Invariant.Thorough)
            Invariant.Holds(Epochs.InProgress > 0, "a cluster is written in place only inside an epoch", cluster);
        while (next < sliceEnd
            && (next << _geometry.ClusterBits) - offset < length
            && _tables.Raw(slot, next) == (expected += (ulong)_geometry.ClusterSize))
        {
            next++;
        }

        return (int)Math.Min(length, (next << _geometry.ClusterBits) - offset);
    }

    /// <summary>
    /// A write that the file does not take as it is (O_DIRECT): the sectors it only partly covers are read first.
    /// Nothing else may change them in between, so direct writes of other loops are shut out and waited for.
    /// </summary>
    private async LoopTask<int> WriteUnalignedAsync(long offset, NativeBuffer buffer)
    {
        await _turns.BeginExclusiveAsync();
        var alignment = _file.OffsetAlignment;
        var start = Rounding.Down(offset, alignment);
        var end = Rounding.Up(offset + buffer.Length, alignment);
        var onDisk = (int)(Math.Min(end, Size) - start);
        var pool = LoopScheduler.Current.Buffers;
        var sectors = pool.Rent(checked((int)(end - start)));
        sectors.Slice(onDisk).Clear();
        var error = await ReadAsync(start, sectors.Slice(0, onDisk));
        if (error == 0)
        {
            buffer.Span.CopyTo(sectors.Span[(int)(offset - start)..]);
            var parity = Epochs.Enter(0);
            error = await WriteDataAsync(start, sectors);
            Epochs.Exit(0, parity);
        }

        pool.Return(sectors);
        _turns.EndExclusive();
        return error;
    }
}
