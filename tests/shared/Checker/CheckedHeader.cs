using System;
using System.Buffers.Binary;
using Qcow2Blk.Image.Check;

namespace Qcow2Blk.Tests.Shared.Checker;

/// <summary>
/// The header fields that the checker needs. It decodes by itself, as it judges the code that the engine decodes with.
/// Nothing here is believed yet: offsets and counts are held against the file where they are used.
/// </summary>
internal sealed class CheckedHeader
{
    /// <summary>"QFI\xfb"</summary>
    private const uint Magic = 0x514649FB;
    private const int Version2Length = 72;
    private const int Version3Length = 104;
    private const uint BitmapsExtension = 0x23852875;
    private const uint EncryptionExtension = 0x0537be77;

    // Incompatible feature bits.
    private const ulong DirtyBit = 1 << 0;
    private const ulong ExternalDataBit = 1 << 2;
    private const ulong ExtendedL2Bit = 1 << 4;
    private const ulong KnownIncompatible = 0x1F;

    private CheckedHeader()
    {
    }

    /// <summary>How much of the file <see cref="Parse"/> wants to see: the largest cluster, as extensions lie in the first.</summary>
    public const int ReadLength = 2 << 20;

    public int Version { get; private set; }

    public int ClusterBits { get; private set; }

    public int ClusterSize => 1 << ClusterBits;

    public long DiskSize { get; private set; }

    public long L1Offset { get; private set; }

    public uint L1Entries { get; private set; }

    public long RefcountTableOffset { get; private set; }

    public uint RefcountTableClusters { get; private set; }

    public uint SnapshotCount { get; private set; }

    public long SnapshotTableOffset { get; private set; }

    public ulong Incompatible { get; private set; }

    public int RefcountOrder { get; private set; } = 4;

    public bool Dirty => (Incompatible & DirtyBit) != 0;

    public bool HasExternalData => (Incompatible & ExternalDataBit) != 0;

    public bool HasExtendedL2 => (Incompatible & ExtendedL2Bit) != 0;

    public int L2EntrySize => HasExtendedL2 ? 16 : 8;

    public int L2Entries => ClusterSize / L2EntrySize;

    public long RefcountBlockEntries => (long)ClusterSize * 8 >> RefcountOrder;

    public ulong RefcountMaximum => RefcountOrder == 6 ? ulong.MaxValue : (1UL << (1 << RefcountOrder)) - 1;

    public uint BitmapCount { get; private set; }

    public long BitmapDirectoryOffset { get; private set; }

    public long BitmapDirectorySize { get; private set; }

    public long EncryptionHeaderOffset { get; private set; }

    public long EncryptionHeaderLength { get; private set; }

    /// <summary>Decodes the header; null and a reason if this is no image that can be checked.</summary>
    public static CheckedHeader? Parse(ReadOnlySpan<byte> start, out string reason)
    {
        reason = "";
        if (start.Length < Version2Length || U32(start, 0) != Magic)
            return Refuse(out reason, "not a qcow2 image: no magic number");
        var header = new CheckedHeader { Version = (int)U32(start, 4), ClusterBits = (int)U32(start, 20) };
        if (header.Version is not (2 or 3))
            return Refuse(out reason, $"version {header.Version} is not supported");
        if (header.ClusterBits is < 9 or > 21)
            return Refuse(out reason, $"cluster_bits {header.ClusterBits} is not between 9 and 21");
        header.DiskSize = (long)U64(start, 24);
        header.L1Entries = U32(start, 36);
        header.L1Offset = (long)U64(start, 40);
        header.RefcountTableOffset = (long)U64(start, 48);
        header.RefcountTableClusters = U32(start, 56);
        header.SnapshotCount = U32(start, 60);
        header.SnapshotTableOffset = (long)U64(start, 64);
        var length = Version2Length;
        if (header.Version == 3 && (length = header.ParseVersion3(start, out reason)) < 0)
            return null;
        header.ParseExtensions(start, length);
        return header.Validate(out reason) ? header : null;
    }

    /// <returns>length of the header, or -1 with a reason</returns>
    private int ParseVersion3(ReadOnlySpan<byte> start, out string reason)
    {
        reason = "";
        if (start.Length < Version3Length)
            reason = $"the file ends inside the header ({start.Length} bytes)";
        else if (U32(start, 100) is < Version3Length or > int.MaxValue)
            reason = $"header_length {U32(start, 100)} is below {Version3Length}";
        else if (U32(start, 100) > ClusterSize)
            reason = $"header_length {U32(start, 100)} exceeds the cluster size";
        else if (((Incompatible = U64(start, 72)) & ~KnownIncompatible) != 0)
            reason = $"unknown incompatible feature bits 0x{Incompatible & ~KnownIncompatible:x}";
        else if (U32(start, 96) > 6)
            reason = $"refcount_order {U32(start, 96)} is above 6";
        if (reason.Length > 0)
            return -1;
        RefcountOrder = (int)U32(start, 96);
        return (int)U32(start, 100);
    }

    private bool Validate(out string reason)
    {
        reason = "";
        var alignment = ClusterSize - 1;
        if (DiskSize < 0)
            reason = $"size 0x{DiskSize:x} is too large";
        else if (RefcountTableClusters == 0)
            reason = "there is no refcount table";
        else if ((RefcountTableOffset & alignment) != 0 || RefcountTableOffset <= 0)
            reason = $"refcount_table_offset 0x{RefcountTableOffset:x} is invalid";
        else if ((L1Offset & alignment) != 0 || L1Offset < 0)
            reason = $"l1_table_offset 0x{L1Offset:x} is invalid";
        else if ((SnapshotTableOffset & alignment) != 0 || SnapshotTableOffset < 0)
            reason = $"snapshots_offset 0x{SnapshotTableOffset:x} is invalid";
        else if (L1Entries < L1EntriesNeeded())
            reason = $"l1_size {L1Entries} is too small for a disk of {DiskSize} bytes";
        return reason.Length == 0;
    }

    private long L1EntriesNeeded()
    {
        var covered = (long)ClusterSize * L2Entries;
        return DiskSize / covered + (DiskSize % covered == 0 ? 0 : 1);
    }

    private void ParseExtensions(ReadOnlySpan<byte> start, int position)
    {
        var end = Math.Min(start.Length, ClusterSize);
        var backing = (long)U64(start, 8);
        if (backing > position && backing < end)
            end = (int)backing;
        while (position + 8 <= end)
        {
            var (type, length) = (U32(start, position), U32(start, position + 4));
            position += 8;
            if (type == 0 || length > end - position)
                return;
            ParseExtension(type, start.Slice(position, (int)length), start);
            position += (int)((length + 7) & ~7U);
        }
    }

    private void ParseExtension(uint type, ReadOnlySpan<byte> data, ReadOnlySpan<byte> start)
    {
        // Without the autoclear bit the bitmaps were left behind by a writer that does not know them: no references.
        if (type == BitmapsExtension && data.Length >= 24 && Version == 3 && (U64(start, 88) & 1) != 0)
        {
            BitmapCount = U32(data, 0);
            BitmapDirectorySize = (long)U64(data, 8);
            BitmapDirectoryOffset = (long)U64(data, 16);
        }
        else if (type == EncryptionExtension && data.Length >= 16)
        {
            EncryptionHeaderOffset = (long)U64(data, 0);
            EncryptionHeaderLength = (long)U64(data, 8);
        }
    }

    private static CheckedHeader? Refuse(out string reason, string why)
    {
        reason = why;
        return null;
    }

    private static uint U32(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt32BigEndian(bytes[at..]);

    private static ulong U64(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt64BigEndian(bytes[at..]);
}
