namespace Qcow2Blk.Format;

/// <summary>What an L2 entry says about its guest cluster.</summary>
public enum L2Kind : byte
{
    /// <summary>Not in this file: reads come from the backing file, or are zeroes without one.</summary>
    Unallocated,

    /// <summary>Reads as zeroes; no host cluster (version 3).</summary>
    Zero,

    /// <summary>Reads as zeroes; a host cluster is kept for it (version 3).</summary>
    ZeroAllocated,

    /// <summary>In a host cluster of its own.</summary>
    Data,

    /// <summary>Compressed, at a host byte offset.</summary>
    Compressed,

    /// <summary>Corrupt: an offset that is not cluster aligned or beyond 56 bits, or a zero flag in a version 2 image.</summary>
    Invalid,
}
