using System;
using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace Qcow2Blk.Remote.Cache;

/// <summary>Which base an entry of a cache is of: two bases with the same key have the same bytes.</summary>
/// <param name="Name">of its source: a URL without credentials</param>
/// <param name="Version">what tells it from others of that name: an entity tag, or "sha256:ROOT"</param>
/// <param name="Length">its bytes</param>
internal readonly record struct CacheKey(string Name, string Version, long Length)
{
    /// <summary>Characters that a name or a version may have: more is not a name but an attack.</summary>
    public const int MaxCharacters = 4096;

    /// <summary>32 bytes that stand for the key, with chunks of that size.</summary>
    public byte[] Hash(int chunkBytes)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Span<byte> numbers = stackalloc byte[16];
        foreach (var text in (string[])[Name, Version])
        {
            // The length before the text, so that no two keys are the same bytes.
            var bytes = Encoding.UTF8.GetBytes(text);
            BinaryPrimitives.WriteInt64LittleEndian(numbers, bytes.Length);
            hash.AppendData(numbers[..8]);
            hash.AppendData(bytes);
        }

        BinaryPrimitives.WriteInt64LittleEndian(numbers, Length);
        BinaryPrimitives.WriteInt64LittleEndian(numbers[8..], chunkBytes);
        hash.AppendData(numbers);
        return hash.GetHashAndReset();
    }

    /// <summary>The name of the entry's directory.</summary>
    public string EntryName(int chunkBytes) => Convert.ToHexStringLower(Hash(chunkBytes));
}
