using System;

namespace Qcow2Blk.Format;

/// <summary>
/// Header bytes 72 to 79: "An implementation must fail to open an image if an unknown bit is set." Bits 5 to 63 are
/// reserved and must be 0.
/// </summary>
[Flags]
internal enum IncompatibleFeatures : ulong
{
    None = 0,

    /// <summary>Bit 0. Refcounts may be inconsistent: scan L1 and L2 tables and repair them before writing.</summary>
    Dirty = 1,

    /// <summary>Bit 1. Any data structure may be corrupt; the image must not be written to, repair aside.</summary>
    Corrupt = 2,

    /// <summary>Bit 2. Guest clusters live in an external data file; no compressed clusters, no encryption.</summary>
    DataFile = 4,

    /// <summary>Bit 3. The compression type header field is not zlib.</summary>
    CompressionType = 8,

    /// <summary>Bit 4. L2 entries are 128 bits with subcluster allocation.</summary>
    ExtendedL2 = 16,

    /// <summary>Every bit that has a meaning.</summary>
    Known = Dirty | Corrupt | DataFile | CompressionType | ExtendedL2,
}
