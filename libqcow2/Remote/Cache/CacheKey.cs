using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.Runtime.InteropServices;
using System.Text;
using Qcow2Blk.Crypto;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Remote.Cache;

/// <summary>Which base an entry of a cache is of: two bases with the same key have the same bytes.</summary>
/// <param name="Name">of its source: a URL without credentials</param>
/// <param name="Version">what tells it from others of that name: an entity tag, or "sha256:ROOT"</param>
/// <param name="Length">its bytes</param>
internal readonly record struct CacheKey(string Name, string Version, long Length)
{
    private const int HashBytes = 32;

    /// <summary>Characters that a name or a version may have: more is not a name but an attack.</summary>
    public const int MaxCharacters = 4096;

    /// <summary>32 bytes that stand for the key, with chunks of that size.</summary>
    /// <exception cref="IOException">nothing here computes SHA-256</exception>
    public byte[] Hash(int chunkBytes)
    {
        // Not .NET's: that needs libssl, and ends the process where it is missing.
        if (LibCrypto.Load() is { } failure)
            throw new IOException($"cannot name a cache: {failure}");
        var text = new List<byte>();
        foreach (var part in (string[])[Name, Version])
        {
            // The length before the text, so that no two keys are the same bytes.
            var bytes = Encoding.UTF8.GetBytes(part);
            Append(text, bytes.Length);
            text.AddRange(bytes);
        }

        Append(text, Length);
        Append(text, chunkBytes);
        var hash = new byte[HashBytes];
        Digests.Sha256(CollectionsMarshal.AsSpan(text), hash);
        return hash;
    }

    private static void Append(List<byte> text, long number)
    {
        Span<byte> bytes = stackalloc byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, number);
        text.AddRange(bytes);
    }

    /// <summary>The name of the entry's directory.</summary>
    public string EntryName(int chunkBytes) => Convert.ToHexStringLower(Hash(chunkBytes));
}
