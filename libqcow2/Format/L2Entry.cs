using System.Runtime.CompilerServices;

namespace Qcow2Blk.Format;

/// <summary>
/// A decoded L2 table entry (specification, "Standard Cluster Descriptor" and "Compressed Clusters Descriptor").
/// </summary>
internal readonly partial struct L2Entry
{
    /// <summary>Bit 63: the refcount of the host cluster is exactly one, so it may be written in place.</summary>
    public const ulong CopiedFlag = 1UL << 63;

    /// <summary>Bit 62: 0 standard, 1 compressed cluster.</summary>
    public const ulong CompressedFlag = 1UL << 62;

    /// <summary>Bit 0 of a standard descriptor, version 3: the cluster reads as all zeroes.</summary>
    public const ulong ZeroFlag = 1;

    /// <summary>Bits 9 to 55 of a standard descriptor: host cluster offset.</summary>
    public const ulong OffsetMask = 0x00ff_ffff_ffff_fe00;

    /// <summary>Bits 1 to 8 and 56 to 61 of a standard descriptor: "reserved (set to 0)".</summary>
    public const ulong ReservedMask = 0x3f00_0000_0000_01fe;

    private L2Entry(L2Kind kind, ulong host, bool copied, int compressedLength = 0, uint allocated = 0, uint zeroes = 0)
    {
        Allocated = allocated;
        Zeroes = zeroes;
        Host = new HostOffset((long)host);
        CompressedLength = compressedLength;
        Kind = kind;
        Copied = copied;
    }

    /// <summary>
    /// What the whole cluster is. With extended L2 entries only whether it has a host cluster (<see cref="L2Kind.Data"/>) or none
    /// (<see cref="L2Kind.Unallocated"/>), is compressed or invalid: <see cref="KindAt"/> tells of its subclusters.
    /// </summary>
    public L2Kind Kind { get; }

    /// <summary>True: nobody else refers to the host cluster. Never true for compressed and plain zero clusters.</summary>
    public bool Copied { get; }

    /// <summary>
    /// Where the host cluster starts; for a compressed one the byte where its data starts; for an invalid one what
    /// the entry holds; otherwise 0.
    /// </summary>
    public HostOffset Host { get; }

    /// <summary>
    /// Bytes from <see cref="Host"/> to the end of the last sector a compressed cluster touches: the most its data
    /// can have, not its exact length. May reach past the end of the file.
    /// </summary>
    public int CompressedLength { get; }

    /// <summary>Bit n: subcluster n is in the host cluster. 0 without extended L2 entries.</summary>
    public uint Allocated { get; }

    /// <summary>Bit n: subcluster n reads as zeroes. 0 without extended L2 entries.</summary>
    public uint Zeroes { get; }

    /// <summary>Decodes one entry. Reserved bits are ignored, as qemu does when it runs (<see cref="HasReservedBits"/>).</summary>
    /// <param name="raw">the entry in host byte order</param>
    /// <param name="geometry">of the image that the entry is from</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static L2Entry Decode(ulong raw, in Geometry geometry)
    {
        // Compressed first: bit 0 belongs to the offset there, it is no zero flag.
        if ((raw & (CompressedFlag | ZeroFlag)) != 0)
            return (raw & CompressedFlag) != 0 ? DecodeCompressed(raw, geometry) : DecodeZero(raw, geometry);

        var host = raw & OffsetMask;
        if (host == 0 && !IsStartOfDataFile(raw, geometry))
            return default;
        var aligned = (host & (ulong)geometry.ClusterMask) == 0;
        return new L2Entry(aligned ? L2Kind.Data : L2Kind.Invalid, host, (raw & CopiedFlag) != 0);
    }

    /// <summary>Guest cluster 0 is at 0 in an external data file; COPIED tells that from an entry without a host cluster.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsStartOfDataFile(ulong raw, in Geometry geometry) => geometry.HasDataFile && (raw & CopiedFlag) != 0;

    private static L2Entry DecodeZero(ulong raw, in Geometry geometry)
    {
        var host = raw & OffsetMask;
        var copied = (raw & CopiedFlag) != 0;
        if (geometry.Version < 3 || (host & (ulong)geometry.ClusterMask) != 0)
            return new L2Entry(L2Kind.Invalid, host, copied);
        return host == 0 ? new L2Entry(L2Kind.Zero, 0, copied: false) : new L2Entry(L2Kind.ZeroAllocated, host, copied);
    }

    private static L2Entry DecodeCompressed(ulong raw, in Geometry geometry)
    {
        var host = raw & geometry.CompressedOffsetMask;
        if (host >= Limits.MaxHostOffset || geometry.HasDataFile)
            return new L2Entry(L2Kind.Invalid, host, copied: false);
        var sectors = (int)(raw >> geometry.CompressedShift & geometry.CompressedSectorsMask) + 1;
        return new L2Entry(L2Kind.Compressed, host, copied: false, sectors * 512 - (int)(host & 511));
    }

    /// <summary>
    /// True if bits are set that must not be: reserved ones, COPIED on a compressed entry, offset bits beyond 55 there,
    /// the zero flag in version 2. A check reports them; a running image ignores what <see cref="Decode"/> accepts.
    /// </summary>
    public static bool HasReservedBits(ulong raw, in Geometry geometry)
    {
        if ((raw & CompressedFlag) != 0)
            return (raw & CopiedFlag) != 0 || (raw & geometry.CompressedOffsetMask) >= Limits.MaxHostOffset;
        var reserved = geometry.Version < 3 ? ReservedMask | ZeroFlag : ReservedMask;
        return (raw & reserved) != 0;
    }

    /// <summary>The raw entry of a data cluster.</summary>
    public static ulong EncodeData(HostOffset host, bool copied) => (ulong)host.Value | (copied ? CopiedFlag : 0);

    /// <summary>The raw entry of a zero cluster without host cluster; version 3 only.</summary>
    public static ulong EncodeZero() => ZeroFlag;

    /// <summary>The raw entry of a zero cluster that keeps its host cluster; version 3 only.</summary>
    public static ulong EncodeZeroAllocated(HostOffset host, bool copied) => EncodeData(host, copied) | ZeroFlag;
}
