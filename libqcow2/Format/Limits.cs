namespace Qcow2Blk.Format;

/// <summary>
/// The bounds put on everything an image claims, each with its reason. They are qemu's unless the comment says
/// otherwise, so that an image qemu accepts is accepted here and the other way round.
/// </summary>
internal static class Limits
{
    /// <summary>512 B clusters: the specification's minimum, one sector.</summary>
    public const int MinClusterBits = 9;

    /// <summary>2 MiB clusters: qemu's maximum; an L2 table is one cluster and must fit in memory.</summary>
    public const int MaxClusterBits = 21;

    /// <summary>Extended L2 entries divide a cluster in 32 subclusters of at least one sector: 16 KiB.</summary>
    public const int MinExtendedL2ClusterBits = 14;

    /// <summary>An L1 table, active or of a snapshot, is held in memory as a whole.</summary>
    public const int MaxL1Bytes = 32 << 20;

    /// <summary>Entries in <see cref="MaxL1Bytes"/>.</summary>
    public const int MaxL1Entries = MaxL1Bytes / sizeof(ulong);

    /// <summary>The refcount table is held in memory as a whole.</summary>
    public const int MaxRefcountTableBytes = 8 << 20;

    /// <summary>A refcount entry is at most 64 bits wide (2^6).</summary>
    public const int MaxRefcountOrder = 6;

    /// <summary>Internal snapshots of one image; the specification has no bound, memory has.</summary>
    public const int MaxSnapshots = 65536;

    /// <summary>Bytes of the whole snapshot table; 1 KiB for each of <see cref="MaxSnapshots"/>.</summary>
    public const int MaxSnapshotTableBytes = 64 << 20;

    /// <summary>Bytes of extra data in one snapshot table entry: room for a hundred fields nobody has defined yet.</summary>
    public const int MaxSnapshotExtraBytes = 1024;

    /// <summary>Bytes of a backing file name (specification: 1023).</summary>
    public const int MaxBackingNameLength = 1023;

    /// <summary>Bytes of a format name in the backing format extension: longer than any format's name.</summary>
    public const int MaxFormatNameLength = 15;

    /// <summary>Bytes of an external data file's name: PATH_MAX of Linux.</summary>
    public const int MaxDataFileNameLength = 4096;

    /// <summary>Host cluster offsets have 56 bits in L1, L2 and refcount table entries.</summary>
    public const long MaxHostOffset = 1L << 56;

    /// <summary>
    /// Bytes of a file or disk: what has 63 bits and can be rounded up to any cluster or block there is (BDRV_MAX_LENGTH).
    /// </summary>
    public const long MaxFileBytes = long.MaxValue & -(1L << 30);

    /// <summary>Files in one backing chain. Ours: deeper ones cost a file and its tables each; real ones have tens.</summary>
    public const int MaxBackingDepth = 256;

    /// <summary>Bitmaps of one image.</summary>
    public const int MaxBitmaps = 65535;

    /// <summary>Bytes of the bitmap directory: 1 KiB for each of <see cref="MaxBitmaps"/>.</summary>
    public const int MaxBitmapDirectoryBytes = 1024 * MaxBitmaps;

    /// <summary>Bytes of a bitmap's name.</summary>
    public const int MaxBitmapNameLength = 1023;

    /// <summary>One bit for a sector: nothing on the disk is smaller.</summary>
    public const int MinBitmapGranularityBits = 9;

    /// <summary>One bit for 2 GiB: qemu's maximum.</summary>
    public const int MaxBitmapGranularityBits = 31;

    /// <summary>Entries of one bitmap table.</summary>
    public const int MaxBitmapTableEntries = 0x8000000;

    /// <summary>Bytes of one bitmap's data: it is held in memory while the image is open.</summary>
    public const int MaxBitmapDataBytes = 512 << 20;

    /// <summary>Bits of a bitmap that is made; qemu's number for bytes, which it compares with bits.</summary>
    public const long MaxNewBitmapBits = 512L << 20;

    /// <summary>
    /// PBKDF2 rounds of one LUKS key slot. Ours: a minute of computing, where a header could ask for an hour; the programs that
    /// make headers choose a few seconds.
    /// </summary>
    public const int MaxLuksIterations = 100_000_000;

    /// <summary>Bytes of a passphrase: cryptsetup's maximum for a key file.</summary>
    public const int MaxKeyBytes = 8 << 20;
}
