using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Change;

/// <summary>Writing data: in place where the cluster is ours alone, else into new clusters that are published afterwards.</summary>
internal sealed class DataWrites(ChangeParts parts, NewClusters newClusters)
{
    private readonly ImageContext _context = parts.Context;
    private readonly Geometry _geometry = parts.Context.Geometry;

    /// <summary>Writes a range of any alignment.</summary>
    /// <returns>0, or a negative errno</returns>
    public async LoopTask<int> WriteAsync(GuestOffset offset, NativeBuffer buffer)
    {
        _context.Log?.NoteAlive();
        if (((offset.Value | (uint)buffer.Length) & (parts.Data.Alignment - 1)) != 0)
            return await WriteUnalignedAsync(offset, buffer);
        var change = await parts.Turns.BeginChangeAsync();
        var error = await WriteAlignedAsync(offset, buffer);
        parts.Turns.EndChange(change);
        return error;
    }

    private async LoopTask<int> WriteAlignedAsync(GuestOffset offset, NativeBuffer buffer)
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
    private async LoopTask<int> WriteRunAsync(GuestOffset offset, NativeBuffer buffer, TaskGroup group)
    {
        var tables = parts.Map.Tables;
        var slot = await tables.LoadAsync(tables.KeyOf(_geometry.ClusterOf(offset)));
        if (slot is < 0 and not SlicedTables.Absent)
            return slot;

        // Reading the slice may have shown that the image is corrupt: then nothing is written any more.
        if (_context.WriteError != 0)
            return _context.WriteError;
        var piece = parts.Map.At(slot, offset, buffer.Length, sameOwner: true);
        switch (piece.Kind)
        {
            case L2Kind.Invalid:
                return parts.Map.Invalid(offset, piece);
            case L2Kind.Data when piece.Copied && piece.Length >= parts.Data.Alignment:
                if (parts.IsShowing)
                {
                    await parts.Locks.WaitForReleaseAsync();
                    return 0;
                }

                RequireInPlace(offset, piece.Stored);

                // A device may have larger sectors than subclusters.
                var run = (int)Rounding.Down(piece.Length, parts.Data.Alignment);
                group.Add(parts.Data.WriteHostAsync(piece.Host, buffer.Slice(0, run)));
                return run;
            default:
                return await newClusters.WriteAsync(offset, buffer);
        }
    }

    private void RequireInPlace(GuestOffset offset, in StoredL2Entry stored)
    {
        Invariant.Holds((stored.Descriptor & L2Entry.CopiedFlag) != 0, "only a cluster that nothing else uses is written in place",
            offset.Value, (long)stored.Descriptor);
        if (Invariant.Thorough)
            Invariant.Holds(_context.Epochs.InProgress > 0, "a cluster is written in place only inside an epoch", offset.Value);
    }

    /// <summary>
    /// A write that the file does not take as it is (O_DIRECT): the sectors it only partly covers are read first.
    /// Nothing else may change them in between, so direct writes of other loops are shut out and waited for.
    /// </summary>
    private async LoopTask<int> WriteUnalignedAsync(GuestOffset offset, NativeBuffer buffer)
    {
        await parts.Turns.BeginExclusiveAsync();
        var alignment = parts.Data.Alignment;
        var start = offset.RoundDown(alignment);
        var end = (offset + buffer.Length).RoundUp(alignment);
        var onDisk = (int)(long.Min(end.Value, parts.Map.Size) - start.Value);
        var pool = LoopScheduler.Current.Buffers;
        var sectors = pool.Rent(checked((int)(end - start)));
        sectors.Slice(onDisk).Clear();
        var error = await parts.Data.ReadAsync(start, sectors.Slice(0, onDisk));
        if (error == 0)
        {
            buffer.Span.CopyTo(sectors.Span[(int)(offset - start)..]);
            var parity = _context.Epochs.Enter(0);
            error = await WriteAlignedAsync(start, sectors);
            _context.Epochs.Exit(0, parity);
        }

        pool.Return(sectors);
        parts.Turns.EndExclusive();
        return error;
    }
}
