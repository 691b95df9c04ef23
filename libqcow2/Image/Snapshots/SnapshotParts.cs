using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Commit;
using Qcow2Blk.Image.Map;
using Qcow2Blk.Image.Space;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Snapshots;

/// <summary>What changes of whole tables need of an image that is open for writing, and the steps that they share.</summary>
internal sealed class SnapshotParts(
    ImageContext context, GuestMap map, RefcountBlocks refcounts, Allocator allocator, FreeQueue frees, Committer committer)
{
    public ImageContext Context => context;

    public GuestMap Map => map;

    public Geometry Geometry { get; } = context.Geometry;

    /// <summary>What is given up, on its way to be free.</summary>
    public FreeQueue Frees => frees;

    /// <summary>The snapshot that is being made while the disk is used; null if there is none.</summary>
    public SnapshotCreation? Pending { get; set; }

    /// <summary>Everything that was changed before the call is on disk when this returns 0.</summary>
    public LoopTask<int> CommitAsync()
    {
        // What was written to the file itself, past the caches, is to be there as well.
        context.NoteData();
        return committer.FlushAsync();
    }

    /// <summary>Waits for the write that makes all of it true. If it fails, nobody knows what the disk has: writing stops.</summary>
    public async LoopTask<int> SwitchAsync(LoopTask<int> header)
    {
        var error = await header;
        if (error < 0)
            context.SyncFailed(error);
        return error;
    }

    public TableWalk NewWalk(WalkKind kind, bool ofActive = false, Func<bool>? goesOn = null) =>
        new(context, refcounts, frees, kind) { Changed = ofActive ? Refresh : null, GoesOn = goesOn };

    /// <summary>Gives a table a place and writes it there; nothing points to it yet.</summary>
    /// <returns>its offset, 0 for an empty one, or a negative errno</returns>
    public async LoopTask<long> WriteNewAsync(byte[] content)
    {
        if (content.Length == 0)
            return 0;
        var clusters = ClustersOf(content.Length);
        var offset = await allocator.AllocateWholeAsync(clusters);
        if (offset < 0)
            return offset;
        var pool = LoopScheduler.Current.Buffers;
        var buffer = pool.Rent(Geometry.ClusterSize);
        var error = 0;
        for (var i = 0; i < clusters && error == 0; i++)
        {
            buffer.Clear();
            var start = i << Geometry.ClusterBits;
            content.AsSpan(start, Math.Min(Geometry.ClusterSize, content.Length - start)).CopyTo(buffer.Span);
            error = await context.File.WriteAsync(offset + start, buffer);
        }

        pool.Return(buffer);
        if (error == 0)
            return offset;
        await ReleaseAsync(offset, content.Length);
        return error;
    }

    /// <summary>Gives back what nothing on disk points to.</summary>
    public async LoopTask<int> ReleaseAsync(long offset, long bytes) =>
        await allocator.ReleaseAsync(new HostRun(0, new HostOffset(offset), ClustersOf(bytes), Fresh: false));

    /// <summary>From now on this is a table of the image.</summary>
    public void Protect(long offset, long bytes)
    {
        if (bytes > 0)
            context.Metadata!.Add(new HostOffset(offset), ClustersOf(bytes));
    }

    /// <summary>Gives up a table that nothing on disk points to any more.</summary>
    public void Free(long offset, long bytes)
    {
        if (bytes == 0)
            return;
        context.Metadata!.Remove(new HostOffset(offset), ClustersOf(bytes));
        frees.Add(Geometry.ClusterOf(new HostOffset(offset)), ClustersOf(bytes));
    }

    /// <summary>The entries of the active L1 table.</summary>
    public ulong[] ActiveL1()
    {
        var entries = new ulong[map.Tables.L1.Entries];
        for (var i = 0; i < entries.Length; i++)
            entries[i] = map.Tables.L1[i];
        return entries;
    }

    /// <summary>Gives the active L1 table these entries; the next commit writes what differs.</summary>
    public void SetActiveL1(ulong[] entries)
    {
        for (var i = 0; i < entries.Length; i++)
        {
            if (map.Tables.L1[i] != entries[i])
                map.Tables.L1[i] = entries[i];
        }
    }

    /// <summary>Sets the COPIED flags of the active tables to what the refcounts say.</summary>
    public async LoopTask<int> FlagActiveAsync()
    {
        var l1 = ActiveL1();
        var walk = NewWalk(WalkKind.Flag, ofActive: true);
        var error = await walk.RunAsync(l1);
        if (error < 0)
            return walk.Refusal is { } why ? context.Corrupt(why) : error;
        SetActiveL1(l1);
        return 0;
    }

    public async LoopTask<(int Error, ulong[] Entries)> ReadL1Async(HostOffset offset, int entries)
    {
        var l1 = new ulong[entries];
        var pool = LoopScheduler.Current.Buffers;
        var buffer = pool.Rent(Geometry.ClusterSize);
        var error = 0;
        var perCluster = Geometry.ClusterSize / sizeof(ulong);
        for (var first = 0; first < entries && error == 0; first += perCluster)
        {
            var count = Math.Min(perCluster, entries - first);
            error = await context.File.ReadAsync(
                offset.Value + ((long)first * sizeof(ulong)), buffer.Slice(0, (int)Rounding.Up(count * sizeof(ulong), context.WriteUnit)));
            for (var i = 0; i < count && error == 0; i++)
                l1[first + i] = BinaryPrimitives.ReadUInt64BigEndian(buffer.Span[(i * sizeof(ulong))..]);
        }

        pool.Return(buffer);
        return (error, l1);
    }

    /// <summary>The snapshot table as it is in the file.</summary>
    /// <exception cref="ImageFormatException">it is damaged</exception>
    public async LoopTask<(int Error, FoundTable Found)> ReadTableAsync()
    {
        var header = context.Header;
        if (header.SnapshotCount == 0)
            return (0, new FoundTable([], [], 0));
        var pool = LoopScheduler.Current.Buffers;
        var table = pool.Rent(SnapshotTable.MaxBytes(header.SnapshotCount, header.SnapshotsOffset, context.File.Length));
        try
        {
            var error = await context.File.ReadAsync(header.SnapshotsOffset.Value, table);
            if (error < 0)
                return (error, new FoundTable([], [], 0));
            var entries = SnapshotTable.Parse(table.Span, header.SnapshotCount, context.File.Path, out var bytes);
            return (0, new FoundTable(entries, SnapshotTableBytes.Split(table.Span, entries, bytes, Geometry.DiskSize), bytes));
        }
        finally
        {
            pool.Return(table);
        }
    }

    /// <summary>Why the image cannot have snapshots; null if it can.</summary>
    public EditAnswer? RefuseImage() => Geometry.HasDataFile
        ? EditAnswer.Refused(EditResult.Failed, "images with an external data file cannot have internal snapshots")
        : null;

    public static byte[] BytesOf(ulong[] entries)
    {
        var bytes = new byte[entries.Length * sizeof(ulong)];
        for (var i = 0; i < entries.Length; i++)
            BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(i * sizeof(ulong)), entries[i]);
        return bytes;
    }

    public int ClustersOf(long bytes) => (int)(Rounding.Up(bytes, Geometry.ClusterSize) >> Geometry.ClusterBits);

    /// <summary>A table of the active state was changed in the file: so are the slices of it that are in memory.</summary>
    private void Refresh(int index, NativeBuffer table)
    {
        var first = (long)index << (Geometry.L2Bits - Geometry.SliceBits);
        for (var slice = 0; slice < Geometry.SlicesPerL2; slice++)
        {
            var slot = map.Tables.Cache.Peek(first + slice);
            if (slot >= 0)
                table.Span.Slice(slice * Geometry.SliceBytes, Geometry.SliceBytes).CopyTo(map.Tables.Cache.Data(slot));
        }
    }
}

/// <summary>A snapshot table as it is in the file.</summary>
internal sealed record FoundTable(IReadOnlyList<SnapshotEntry> Entries, List<byte[]> Raw, int Bytes);
