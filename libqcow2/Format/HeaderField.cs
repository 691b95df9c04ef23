namespace Qcow2Blk.Format;

/// <summary>Byte offsets of the header's fields (specification, "Header"). All fields are big endian.</summary>
internal static class HeaderField
{
    /// <summary>4 bytes: 'Q', 'F', 'I', 0xfb.</summary>
    public const int Magic = 0;

    /// <summary>4 bytes: 2 or 3.</summary>
    public const int Version = 4;

    /// <summary>8 bytes: offset of the backing file name in the image file, 0 if there is none.</summary>
    public const int BackingFileOffset = 8;

    /// <summary>4 bytes: length of the backing file name in bytes, at most 1023.</summary>
    public const int BackingFileSize = 16;

    /// <summary>4 bytes: number of bits that address an offset within a cluster.</summary>
    public const int ClusterBits = 20;

    /// <summary>8 bytes: virtual disk size in bytes.</summary>
    public const int Size = 24;

    /// <summary>4 bytes: 0 none, 1 AES, 2 LUKS.</summary>
    public const int CryptMethod = 32;

    /// <summary>4 bytes: entries in the active L1 table.</summary>
    public const int L1Size = 36;

    /// <summary>8 bytes: offset of the active L1 table, cluster aligned.</summary>
    public const int L1TableOffset = 40;

    /// <summary>8 bytes: offset of the refcount table, cluster aligned.</summary>
    public const int RefcountTableOffset = 48;

    /// <summary>4 bytes: clusters that the refcount table occupies.</summary>
    public const int RefcountTableClusters = 56;

    /// <summary>4 bytes: number of internal snapshots.</summary>
    public const int SnapshotCount = 60;

    /// <summary>8 bytes: offset of the snapshot table, cluster aligned.</summary>
    public const int SnapshotsOffset = 64;

    /// <summary>8 bytes, version 3.</summary>
    public const int IncompatibleFeatures = 72;

    /// <summary>8 bytes, version 3.</summary>
    public const int CompatibleFeatures = 80;

    /// <summary>8 bytes, version 3.</summary>
    public const int AutoclearFeatures = 88;

    /// <summary>4 bytes, version 3: refcount_bits = 1 &lt;&lt; refcount_order; version 2 has order 4.</summary>
    public const int RefcountOrder = 96;

    /// <summary>4 bytes, version 3: length of the header structure in bytes, at least 104, a multiple of 8.</summary>
    public const int HeaderLength = 100;

    /// <summary>1 byte, present if header_length is greater than 104; absent means zlib.</summary>
    public const int CompressionType = 104;
}
