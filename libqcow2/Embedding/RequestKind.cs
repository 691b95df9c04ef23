namespace Qcow2Blk.Embedding;

/// <summary>What a program asks of an image.</summary>
internal enum RequestKind
{
    Read,
    Write,
    Flush,
    Discard,
    WriteZeroes,
    BlockStatus,
}

/// <summary>How it is to be done; the values are those of QCOW2BLK_FUA and so on.</summary>
[System.Flags]
internal enum RequestFlags : uint
{
    None = 0,

    /// <summary>What is changed survives a loss of power when the request ends.</summary>
    ForceUnitAccess = 1,

    /// <summary>Zeroes keep their space.</summary>
    NoHole = 2,

    /// <summary>Zeroes are refused where they would have to be written.</summary>
    FastZero = 4,
}

/// <summary>A buffer of a program, as struct iovec has it.</summary>
internal readonly record struct MemoryPiece(nint Address, nuint Length);

/// <summary>A range of the disk that is alike, as struct qcow2blk_extent has it.</summary>
[System.Runtime.InteropServices.StructLayout(System.Runtime.InteropServices.LayoutKind.Sequential)]
internal record struct StatusExtent(ulong Offset, ulong Length, uint Flags, uint Depth)
{
    public const uint Hole = 1;
    public const uint Zero = 2;
}

/// <summary>What is asked for, all of it.</summary>
/// <param name="Kind">what</param>
/// <param name="Address">the buffer; of block status the array of extents</param>
/// <param name="Offset">on the disk</param>
/// <param name="Length">bytes</param>
/// <param name="Flags">how</param>
internal readonly record struct RequestShape(RequestKind Kind, nint Address, long Offset, long Length, RequestFlags Flags)
{
    /// <summary>Extents that there is room for.</summary>
    public int Extents { get; init; }

    public bool Has(RequestFlags flag) => (Flags & flag) != 0;
}
