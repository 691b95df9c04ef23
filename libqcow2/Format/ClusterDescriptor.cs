using System;
using System.Buffers.Binary;

namespace Qcow2Blk.Format;

/// <summary>What an L2 entry says, as a check sees it: nothing is believed, and what must not be is not left out.</summary>
internal readonly struct ClusterDescriptor
{
    private const ulong AllSubclusters = uint.MaxValue;

    private readonly ulong _entry;
    private readonly ulong _subclusters;

    private ClusterDescriptor(ulong entry, ulong subclusters, in DescriptorRules rules)
    {
        (_entry, _subclusters) = (entry, subclusters);
        var host = entry & L2Entry.OffsetMask;
        if ((entry & L2Entry.CompressedFlag) != 0)
            Kind = L2Kind.Compressed;
        else if ((entry & L2Entry.ZeroFlag) != 0 && !rules.HasSubclusters)
            Kind = host == 0 ? L2Kind.Zero : L2Kind.ZeroAllocated;
        else
            Kind = host != 0 || (rules.HasDataFile && IsCopied) ? L2Kind.Data : L2Kind.Unallocated;
    }

    /// <summary>Never <see cref="L2Kind.Invalid"/>: what is wrong is asked for one by one.</summary>
    public L2Kind Kind { get; }

    /// <summary>Whether it refers to one whole cluster of the file, or of the data file.</summary>
    public bool HasCluster => Kind is L2Kind.Data or L2Kind.ZeroAllocated;

    public bool IsCopied => (_entry & L2Entry.CopiedFlag) != 0;

    /// <summary>Where the cluster is, if it is not compressed.</summary>
    public HostOffset Host => new((long)(_entry & L2Entry.OffsetMask));

    /// <summary>Bits of a standard descriptor that must be 0. A compressed one has none.</summary>
    public bool HasReservedBits => Kind != L2Kind.Compressed && (_entry & L2Entry.ReservedMask) != 0;

    /// <summary>A bit for each subcluster: allocated.</summary>
    public uint Allocated => (uint)_subclusters;

    /// <summary>A bit for each subcluster: reads as zeroes.</summary>
    public uint Zeroes => (uint)(_subclusters >> 32);

    /// <summary>Whether reading the cluster reads what its space in the file holds.</summary>
    public bool HoldsData(in DescriptorRules rules) => rules.HasSubclusters ? Allocated != 0 : (_entry & L2Entry.ZeroFlag) == 0;

    /// <summary>The whole of it, for messages.</summary>
    public override string ToString() => _subclusters == 0 ? $"0x{_entry:x}" : $"0x{_entry:x} (subclusters 0x{_subclusters:x})";

    /// <summary>The bytes that a compressed cluster may have.</summary>
    public (long Offset, int Length) CompressedRange(in DescriptorRules rules)
    {
        var offset = (long)(_entry & ((1UL << rules.CompressedShift) - 1));
        var sectors = (int)((_entry & ~(L2Entry.CopiedFlag | L2Entry.CompressedFlag)) >> rules.CompressedShift) + 1;
        return (offset, sectors * 512 - (int)(offset & 511));
    }

    /// <summary>Whether nothing at all is said in an entry.</summary>
    public static bool IsEmpty(ReadOnlySpan<byte> entry) => entry.IndexOfAnyExcept((byte)0) < 0;

    /// <param name="entry">8 bytes, or 16 where there are subclusters</param>
    /// <param name="rules">of the image</param>
    public static ClusterDescriptor Decode(ReadOnlySpan<byte> entry, in DescriptorRules rules) =>
        new(BinaryPrimitives.ReadUInt64BigEndian(entry), rules.HasSubclusters ? BinaryPrimitives.ReadUInt64BigEndian(entry[8..]) : 0,
            rules);

    /// <summary>Sets or clears COPIED in an L1 or L2 entry.</summary>
    public static void SetCopied(Span<byte> entry, bool copied)
    {
        var word = BinaryPrimitives.ReadUInt64BigEndian(entry);
        BinaryPrimitives.WriteUInt64BigEndian(entry, copied ? word | L2Entry.CopiedFlag : word & ~L2Entry.CopiedFlag);
    }

    /// <summary>Makes the entry one that reads as zeroes wherever it read as anything but the backing file.</summary>
    public static void MakeZero(Span<byte> entry, in DescriptorRules rules)
    {
        BinaryPrimitives.WriteUInt64BigEndian(entry, rules.HasSubclusters ? 0 : L2Entry.EncodeZero());
        if (!rules.HasSubclusters)
            return;
        var subclusters = BinaryPrimitives.ReadUInt64BigEndian(entry[8..]);
        BinaryPrimitives.WriteUInt64BigEndian(entry[8..], (subclusters | subclusters << 32) & AllSubclusters << 32);
    }
}

/// <summary>What the entries of an image's L2 tables are like.</summary>
/// <param name="HasSubclusters">extended L2 entries, of 16 bytes</param>
/// <param name="HasDataFile">the clusters are in another file</param>
/// <param name="CompressedShift">"x" of the specification's compressed descriptor</param>
internal readonly record struct DescriptorRules(bool HasSubclusters, bool HasDataFile, int CompressedShift)
{
    public DescriptorRules(Header header)
        : this(header.Incompatible.HasFlag(IncompatibleFeatures.ExtendedL2), header.Incompatible.HasFlag(IncompatibleFeatures.DataFile),
            62 - (header.ClusterBits - 8))
    {
    }

    public int EntryBytes => HasSubclusters ? 16 : 8;
}
