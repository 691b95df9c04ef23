using System;
using System.Buffers.Binary;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Check;

/// <summary>Writes the snapshot table anew: with all the extra data that version 3 needs, and without what is too much.</summary>
internal sealed class SnapshotTableRepair(ImageUnderCheck image, SnapshotReferences snapshots)
{
    /// <summary>64-bit size of the VM state, size of the disk, instruction count.</summary>
    private const int KnownExtra = 24;
    private const int ExtraField = 36;
    private const int VmStateField = 32;

    private byte[] _table = [];
    private int _cluster;

    /// <summary>Composes the table and takes clusters for it. Nothing is written yet.</summary>
    /// <returns>a negative errno; or 0, with <see cref="CheckResult.Stopped"/> if it cannot be</returns>
    public async LoopTask<int> PlanAsync(FreeClusters free)
    {
        var length = 0L;
        foreach (var entry in snapshots.Entries)
            length = Rounding.Up(length, 8) + SnapshotTable.MinEntryLength + NewExtra(entry) + entry.Names;
        if (length > Limits.MaxSnapshotTableBytes)
        {
            image.Result.Stop($"the snapshot table would have {length} bytes, more than {Limits.MaxSnapshotTableBytes}");
            return 0;
        }

        _table = new byte[length];
        var position = 0;
        foreach (var entry in snapshots.Entries)
        {
            position = (int)Rounding.Up(position, 8);
            var error = await ComposeAsync(entry, _table.AsMemory(position));
            if (error < 0)
                return error;
            position += SnapshotTable.MinEntryLength + NewExtra(entry) + entry.Names;
        }

        var clusters = (int)(Rounding.Up(Math.Max(length, 1), image.ClusterSize) >> image.ClusterBits);
        _cluster = free.Take(clusters);
        if (_cluster < 0)
            image.Result.Stop("there is no room for the snapshot table");
        for (var part = 0; part < clusters && _cluster >= 0; part++)
            image.CountCluster(_cluster + part, 1);
        return 0;
    }

    /// <summary>Writes it and switches the header to it. Its refcounts are on disk.</summary>
    public async LoopTask<int> WriteAsync(RepairWriter writer)
    {
        var offset = (long)_cluster << image.ClusterBits;
        const int piece = 1 << 20;
        for (var at = 0; at < _table.Length; at += piece)
        {
            var error = await writer.WriteAsync(offset + at, _table.AsSpan(at, Math.Min(piece, _table.Length - at)).ToArray());
            if (error < 0)
                return error;
        }

        var result = await writer.FlushAsync();
        if (result >= 0)
            result = await writer.SetSnapshotTableAsync(snapshots.Entries.Count, offset);
        return result < 0 ? result : await writer.FlushAsync();
    }

    /// <summary>Nothing refers to the old table any more.</summary>
    public void Forget()
    {
        var end = snapshots.Offset + snapshots.Length;
        if (snapshots.Length == 0 || end - image.FileLength >= image.ClusterSize)
            return;
        for (var cluster = snapshots.Offset >> image.ClusterBits; cluster <= (end - 1) >> image.ClusterBits; cluster++)
            image.Uncount((int)cluster);
    }

    private static int NewExtra(in SnapshotReferences.SnapshotPlace entry) =>
        (int)Math.Clamp(entry.Extra, KnownExtra, Limits.MaxSnapshotExtraBytes);

    private async LoopTask<int> ComposeAsync(SnapshotReferences.SnapshotPlace entry, Memory<byte> into)
    {
        var kept = (int)Math.Min(entry.Extra, Limits.MaxSnapshotExtraBytes);
        using var buffer = new TableBuffer(SnapshotTable.MinEntryLength + Limits.MaxSnapshotExtraBytes + 2 * ushort.MaxValue);
        var error = await buffer.ReadAsync(image.File, entry.Offset, SnapshotTable.MinEntryLength + kept);
        if (error < 0)
            return error;
        var old = buffer.Span;
        old[..SnapshotTable.MinEntryLength].CopyTo(into.Span);
        var extra = into.Span[SnapshotTable.MinEntryLength..];
        BinaryPrimitives.WriteUInt64BigEndian(extra, BinaryPrimitives.ReadUInt32BigEndian(old[VmStateField..]));
        BinaryPrimitives.WriteInt64BigEndian(extra[8..], Rounding.Down(image.Header.Size, 512));
        BinaryPrimitives.WriteUInt64BigEndian(extra[16..], ulong.MaxValue);

        // Fields that are there in part only are not there: an old one may end anywhere.
        var whole = kept >= KnownExtra ? kept : kept / sizeof(ulong) * sizeof(ulong);
        old.Slice(SnapshotTable.MinEntryLength, whole).CopyTo(extra);
        BinaryPrimitives.WriteInt32BigEndian(into.Span[ExtraField..], NewExtra(entry));
        var size = BinaryPrimitives.ReadUInt64BigEndian(extra);
        BinaryPrimitives.WriteUInt32BigEndian(into.Span[VmStateField..], size <= uint.MaxValue ? (uint)size : 0);

        error = await buffer.ReadAsync(image.File, entry.Offset + SnapshotTable.MinEntryLength + entry.Extra, entry.Names);
        if (error >= 0)
            buffer.Span[..entry.Names].CopyTo(into.Span[(SnapshotTable.MinEntryLength + NewExtra(entry))..]);
        return error;
    }
}
