namespace Qcow2Blk.Format;

/// <summary>Header byte 104: how compressed clusters are packed. A value other than 0 needs incompatible bit 3.</summary>
internal enum CompressionType : byte
{
    /// <summary>Raw deflate, no zlib header.</summary>
    Zlib = 0,

    /// <summary>Zstandard frames, one or more, until the cluster is full.</summary>
    Zstd = 1,
}

internal static class CompressionTypes
{
    public static EnumWords<CompressionType> Words { get; } = new((CompressionType.Zlib, "zlib"), (CompressionType.Zstd, "zstd"));
}
