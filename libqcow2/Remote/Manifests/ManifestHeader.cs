using System;
using System.Buffers.Binary;
using Qcow2Blk.Format;

namespace Qcow2Blk.Remote.Manifests;

/// <summary>
/// What a manifest begins with (format "qcm", version 1; all numbers big endian): magic, version, bytes of a chunk and the digest in
/// 4 bytes each, length of the base and number of chunks in 8 bytes each. The hashes of the chunks follow, and nothing else.
/// </summary>
/// <param name="Length">bytes of the base</param>
/// <param name="ChunkBytes">bytes of a chunk; the last one may be shorter, and is hashed as it is</param>
internal readonly record struct ManifestHeader(long Length, int ChunkBytes)
{
    public const int Bytes = 32;

    /// <summary>SHA-256.</summary>
    public const int HashBytes = 32;

    /// <summary>"QCM" and a byte that no text has.</summary>
    public const uint Magic = 0x51434dfb;

    /// <summary>128 MiB of hashes, which a server keeps in memory: of 1 TiB in chunks of 256 KiB, of 16 TiB in chunks of 4 MiB.</summary>
    public const int MaxChunks = 4 << 20;

    private const uint Version = 1;
    private const uint Sha256 = 1;

    /// <summary>How many chunks a base has, for any length and size of chunks that are allowed.</summary>
    public long Chunks => ((Length - 1) / ChunkBytes) + 1;

    /// <summary>Bytes of the whole manifest, of at most <see cref="MaxChunks"/> chunks.</summary>
    public int FileBytes => checked(Bytes + ((int)Chunks * HashBytes));

    /// <summary>Whether a size can be that of chunks.</summary>
    public static bool IsChunkSize(long bytes) =>
        bytes is >= RemoteSettings.MinChunkBytes and <= RemoteSettings.MaxChunkBytes && (bytes & (bytes - 1)) == 0;

    public void Write(Span<byte> target)
    {
        BinaryPrimitives.WriteUInt32BigEndian(target, Magic);
        BinaryPrimitives.WriteUInt32BigEndian(target[4..], Version);
        BinaryPrimitives.WriteUInt32BigEndian(target[8..], (uint)ChunkBytes);
        BinaryPrimitives.WriteUInt32BigEndian(target[12..], Sha256);
        BinaryPrimitives.WriteUInt64BigEndian(target[16..], (ulong)Length);
        BinaryPrimitives.WriteUInt64BigEndian(target[24..], (ulong)Chunks);
    }

    /// <summary>Reads the header of a file, and checks that the file has the length that it says.</summary>
    /// <returns>null, or what is wrong with it</returns>
    public static string? Read(ReadOnlySpan<byte> file, out ManifestHeader header)
    {
        header = default;
        if (file.Length < Bytes || BinaryPrimitives.ReadUInt32BigEndian(file) != Magic)
            return "it is not a manifest";
        var version = BinaryPrimitives.ReadUInt32BigEndian(file[4..]);
        if (version != Version)
            return $"its version is {version}, and only {Version} is supported";
        var chunkBytes = BinaryPrimitives.ReadUInt32BigEndian(file[8..]);
        if (!IsChunkSize(chunkBytes))
            return $"its chunks have {chunkBytes} bytes: not a power of two from 64K to 4M";
        var digest = BinaryPrimitives.ReadUInt32BigEndian(file[12..]);
        if (digest != Sha256)
            return $"its digest is {digest}, and only {Sha256} (SHA-256) is supported";
        var length = BinaryPrimitives.ReadUInt64BigEndian(file[16..]);
        if (length is 0 or > (ulong)Limits.MaxFileBytes)
            return $"the length of its base is {length} bytes";
        var read = new ManifestHeader((long)length, (int)chunkBytes);
        var chunks = BinaryPrimitives.ReadUInt64BigEndian(file[24..]);
        if (chunks != (ulong)read.Chunks || chunks > MaxChunks)
            return $"it has {chunks} chunks: not those of {length} bytes, or more than {MaxChunks}";
        if (file.Length != read.FileBytes)
            return $"it has {file.Length} bytes, and {chunks} chunks need {read.FileBytes}";
        header = read;
        return null;
    }
}
