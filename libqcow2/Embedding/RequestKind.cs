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
