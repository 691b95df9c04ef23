using System;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Space;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Opening;

/// <summary>Writes that need new clusters: allocate, fill, write, publish, free what was there before.</summary>
internal sealed partial class Qcow2Image
{
    /// <returns>bytes written; 0 to look again; or a negative errno</returns>
    private async LoopTask<int> WriteAllocatingAsync(long offset, NativeBuffer buffer)
    {
        if (_log is { IsNearlyFull: true } && await _committer!.FlushAsync() is var full and < 0)
            return full;
        var first = offset >> _geometry.ClusterBits;
        var count = ClustersOfRun(first, offset, buffer.Length);
        if (!_locks.TryEnter(first, count))
        {
            // Somebody is changing one of these clusters; perhaps not the first.
            count = 1;
            if (!_locks.TryEnter(first, 1))
            {
                await _locks.WaitForReleaseAsync();
                return 0;
            }
        }

        int result;
        try
        {
            result = await WriteUnderLockAsync(offset, buffer, first, count);
        }
        catch (InvariantBreach breach)
        {
            result = _context.Stop(breach);
        }

        _locks.Exit(first, count);
        return result;
    }

    private int ClustersOfRun(long first, long offset, int length)
    {
        var last = (offset + length - 1) >> _geometry.ClusterBits;
        var sliceEnd = (_tables.KeyOf(first) + 1) << _geometry.SliceBits;
        var limit = Math.Max(1, MaximumRunBytes >> _geometry.ClusterBits);
        return (int)Math.Min(Math.Min(last + 1, sliceEnd) - first, limit);
    }

    private async LoopTask<int> WriteUnderLockAsync(long offset, NativeBuffer buffer, long first, int count)
    {
        var slot = await _tables.LoadForWriteAsync(_tables.KeyOf(first));
        if (slot < 0)
            return slot == SlicedTables.Absent ? -Interop.Errno.EIO : slot;
        if (_context.WriteError != 0)
            return _context.WriteError;

        Invariant.Holds(_locks.IsHeld(first, count), "who changes the mapping of clusters has locked them", first, count);

        // Decided only now: while this waited, another request may have done the work.
        count = CountToAllocate(slot, first, count);
        if (count == 0)
            return 0;
        var old = _tables.Entry(slot, first);
        var reuse = old is { Kind: L2Kind.ZeroAllocated, Copied: true };
        var run = reuse ? new HostRun(0, old.Host.Value, 1, false) : await _allocator!.AllocateAsync(count);
        if (run.Error < 0)
            return run.Error;
        var length = (int)Math.Min(buffer.Length, ((first + run.Clusters) << _geometry.ClusterBits) - offset);
        var error = await FillAsync(offset, buffer.Slice(0, length), run);
        if (error == 0)
        {
            _context.NoteData();
            RequireOurs(run, isNew: !reuse);
            error = await PublishAsync(first, run);
        }

        if (error < 0 && !reuse)
            await _allocator!.ReleaseAsync(run);
        return error < 0 ? error : length;
    }

    /// <summary>How many clusters from <paramref name="first"/> on need new host clusters; 1 if the first can be filled where it
    /// is.</summary>
    private int CountToAllocate(int slot, long first, int limit)
    {
        for (var i = 0; i < limit; i++)
        {
            var entry = _tables.Entry(slot, first + i);
            if (entry.Kind == L2Kind.Invalid || entry is { Kind: L2Kind.Data, Copied: true })
                return i;
            if (entry is { Kind: L2Kind.ZeroAllocated, Copied: true })
                return Math.Max(i, 1);
        }

        return limit;
    }

    /// <summary>Writes the guest's bytes and whatever else the new clusters must hold.</summary>
    private async LoopTask<int> FillAsync(long offset, NativeBuffer data, HostRun run)
    {
        var head = (int)(offset & _geometry.ClusterMask);
        var tail = (run.Clusters << _geometry.ClusterBits) - head - data.Length;
        var (headRaw, tailRaw) = await EdgeEntriesAsync(offset, data.Length);
        if (headRaw is null || tailRaw is null)
            return -Interop.Errno.EIO;
        var zeroEdges = (head == 0 || ReadsAsZero(offset, headRaw.Value))
            && (tail == 0 || ReadsAsZero(offset + data.Length - 1, tailRaw.Value));
        var aligned = ((head | data.Length) & (_file.OffsetAlignment - 1)) == 0;
        if (aligned && ((head | tail) == 0 || (zeroEdges && run.Fresh)))
            return await _file.WriteAsync(run.Offset + head, data);
        if (aligned && zeroEdges && _geometry.ClusterSize > LargestAssembledZeroFill)
        {
            var error = await _file.ZeroAsync(run.Offset, (long)run.Clusters << _geometry.ClusterBits);
            return error < 0 ? error : await _file.WriteAsync(run.Offset + head, data);
        }

        return await AssembleAsync(offset, data, run, head, tail, headRaw.Value, tailRaw.Value);
    }

    // Above this, zeroing the cluster in the file is cheaper than writing that many zeroes.
    private const int LargestAssembledZeroFill = 64 * 1024;

    /// <summary>The entries, as they are before the write, of the clusters at both ends.</summary>
    private async LoopTask<(ulong? Head, ulong? Tail)> EdgeEntriesAsync(long offset, int length)
    {
        var first = offset >> _geometry.ClusterBits;
        var slot = await _tables.LoadAsync(_tables.KeyOf(first));
        if (slot < 0)
            return (null, null);
        return (_tables.Raw(slot, first), _tables.Raw(slot, (offset + length - 1) >> _geometry.ClusterBits));
    }

    /// <summary>Copy on write: old bytes, new bytes, old bytes, in one buffer and one write.</summary>
    private async LoopTask<int> AssembleAsync(long offset, NativeBuffer data, HostRun run, int head, int tail, ulong headRaw, ulong tailRaw)
    {
        var pool = LoopScheduler.Current.Buffers;
        var whole = pool.Rent(run.Clusters << _geometry.ClusterBits);
        var group = TaskGroup.Rent();
        if (head > 0)
            group.Add(ReadPartAsync(offset - head, whole.Slice(0, head), headRaw));
        if (tail > 0)
            group.Add(ReadPartAsync(offset + data.Length, whole.Slice(head + data.Length), tailRaw));
        data.Span.CopyTo(whole.Span[head..]);
        var error = await group.WaitAsync();
        if (error == 0)
            error = await _file.WriteAsync(run.Offset, whole);
        pool.Return(whole);
        return error;
    }

    private bool ReadsAsZero(long offset, ulong raw) => L2Entry.Decode(raw, _geometry).Kind switch
    {
        L2Kind.Zero or L2Kind.ZeroAllocated => true,
        L2Kind.Unallocated => _backing is null || (offset & ~_geometry.ClusterMask) >= _backing.Size,
        _ => false,
    };

    /// <summary>The data is written: now the guest's clusters are there. What they were before is freed by the commit.</summary>
    private async LoopTask<int> PublishAsync(long first, HostRun run)
    {
        var slot = await _tables.LoadForWriteAsync(_tables.KeyOf(first));
        if (slot < 0)
            return slot == SlicedTables.Absent ? -Interop.Errno.EIO : slot;
        RequireMayChange(first, run.Clusters);
        for (var i = 0; i < run.Clusters; i++)
        {
            var old = _tables.Entry(slot, first + i);
            var host = new HostOffset(run.Offset + ((long)i << _geometry.ClusterBits));
            _tables.Set(slot, first + i, L2Entry.EncodeData(host, copied: true), run.Taken);
            if (old.Host != host)
                FreeOld(old);
        }

        return 0;
    }

    /// <summary>An entry changes only under its cluster's lock, inside an epoch, and once the header was prepared for it.</summary>
    private void RequireMayChange(long first, long count)
    {
        Invariant.Holds(_locks.IsHeld(first, count), "an L2 entry is changed only under the lock of its cluster", first, count);
        Invariant.Holds(_isPrepared, "no entry changes before the header says who writes the image", first);
        if (Invariant.Thorough)
            Invariant.Holds(Epochs.InProgress > 0, "the mapping is changed only inside an epoch", first);
    }

    /// <summary>What entries are about to call ours alone: in the file and, if it is new, no metadata and used once.</summary>
    private void RequireOurs(HostRun run, bool isNew)
    {
        _context.RequireInFile(run.Offset, run.Clusters);
        for (var i = 0; i < run.Clusters && isNew; i++)
        {
            var offset = run.Offset + ((long)i << _geometry.ClusterBits);
            Invariant.Holds(!_context.Metadata!.Contains(offset), "guest data is never where metadata is", offset);
            if (Invariant.Thorough)
            {
                Invariant.Holds(
                    _refcounts!.Peek(offset >> _geometry.ClusterBits) is 1 or null, "COPIED is set only with refcount 1", offset);
            }
        }
    }

    /// <summary>Queues what an entry pointed to.</summary>
    private void FreeOld(L2Entry old)
    {
        switch (old.Kind)
        {
            case L2Kind.Data or L2Kind.ZeroAllocated:
                _frees!.Add(old.Host.Value >> _geometry.ClusterBits, 1);
                break;
            case L2Kind.Compressed:
                var first = old.Host.Value >> _geometry.ClusterBits;
                var last = (old.Host.Value + old.CompressedLength - 1) >> _geometry.ClusterBits;
                _frees!.Add(first, last - first + 1);
                _compressed.Forget(old.Host);
                break;
        }
    }
}
