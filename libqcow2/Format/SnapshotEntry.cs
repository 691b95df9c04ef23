namespace Qcow2Blk.Format;

/// <summary>One internal snapshot (specification, "Snapshots", "Snapshot table entry").</summary>
internal sealed record SnapshotEntry
{
    /// <summary>Unique ID string; qemu counts up from 1.</summary>
    public required string Id { get; init; }

    /// <summary>Name; not always unique, may be empty.</summary>
    public required string Name { get; init; }

    /// <summary>Bytes 0 to 7: where the snapshot's L1 table starts; must be cluster aligned (<see cref="CheckL1"/>).</summary>
    public required HostOffset L1TableOffset { get; init; }

    /// <summary>Bytes 8 to 11: entries in the snapshot's L1 table.</summary>
    public required int L1Size { get; init; }

    /// <summary>Extra data bytes 8 to 15: virtual disk size in bytes when taken; null in old images, which never resized.</summary>
    public required ulong? DiskSize { get; init; }

    /// <summary>Bytes of VM state: extra data bytes 0 to 7, else bytes 32 to 35; 0 if there is none.</summary>
    public required ulong VmStateSize { get; init; }

    /// <summary>Bytes 16 to 19: when it was taken, seconds since the epoch.</summary>
    public required uint DateSeconds { get; init; }

    /// <summary>Bytes 20 to 23: and the nanoseconds.</summary>
    public required uint DateNanoseconds { get; init; }

    /// <summary>Bytes 24 to 31: how long the guest had run.</summary>
    public required ulong VmClockNanoseconds { get; init; }

    /// <summary>Extra data bytes 16 to 23: instructions executed, for record and replay; null if not recorded.</summary>
    public required ulong? Icount { get; init; }

    /// <summary>Where this entry starts in the snapshot table.</summary>
    public required int EntryOffset { get; init; }

    /// <summary>Checks what must hold before the snapshot's L1 table is read.</summary>
    /// <param name="header">of the image the snapshot is in</param>
    /// <param name="fileLength">bytes in the image file</param>
    /// <exception cref="ImageFormatException">the table is unaligned, past the end of the file, or too small for the disk</exception>
    public void CheckL1(Header header, long fileLength)
    {
        var what = $"snapshot {Id} (\"{Name}\")";
        if (L1TableOffset.Value % header.ClusterSize != 0)
            throw Bad($"{what}: l1_table_offset {L1TableOffset} is not a multiple of the cluster size {header.ClusterSize}");
        var end = L1TableOffset.Value + (long)L1Size * sizeof(ulong);
        if (L1Size > 0
            && (L1TableOffset.Value < header.ClusterSize
                || end > Rounding.Up(System.Math.Min(fileLength, Limits.MaxFileBytes), header.ClusterSize)))
        {
            throw Bad($"{what}: l1_table_offset {L1TableOffset} with {L1Size} entries is not within the file (size {fileLength})");
        }

        var entryBits = header.Incompatible.HasFlag(IncompatibleFeatures.ExtendedL2) ? 4 : 3;
        var bitsPerL1Entry = header.ClusterBits * 2 - entryBits;
        var size = DiskSize ?? (ulong)header.Size;
        var needed = size == 0 ? 0 : ((size - 1) >> bitsPerL1Entry) + 1;
        if ((ulong)L1Size < needed)
            throw Bad($"{what}: l1_size {L1Size} is too small, a disk of {size} bytes needs {needed} entries");

        ImageFormatException Bad(string message) => new(header.Path, "snapshot_table", message);
    }
}
