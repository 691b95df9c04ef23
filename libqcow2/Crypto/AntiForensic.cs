using System;
using System.Buffers.Binary;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Crypto;

/// <summary>
/// The anti-forensic splitter of LUKS: a key becomes stripes of which every single one is needed to get it back, so that
/// overwriting any part of them destroys it.
/// </summary>
internal static class AntiForensic
{
    /// <summary>Gets a key back.</summary>
    /// <param name="hash">of the header</param>
    /// <param name="stripes">a whole number of times as long as the key</param>
    /// <param name="key">the result</param>
    public static void Merge(LuksHash hash, ReadOnlySpan<byte> stripes, Span<byte> key)
    {
        key.Clear();
        for (var at = 0; at < stripes.Length; at += key.Length)
        {
            Xor(key, stripes.Slice(at, key.Length));
            if (at + key.Length < stripes.Length)
                Diffuse(hash, key);
        }
    }

    /// <summary>Makes stripes of a key; all but the last are random.</summary>
    public static void Split(LuksHash hash, ReadOnlySpan<byte> key, Span<byte> stripes)
    {
        var last = stripes.Length - key.Length;
        if (!LibCrypto.Random(stripes[..last]))
            throw new CryptoException("libcrypto has no random numbers");
        using var memory = new SecretMemory(key.Length);
        var sum = memory.Span;
        for (var at = 0; at < last; at += key.Length)
        {
            Xor(sum, stripes.Slice(at, key.Length));
            Diffuse(hash, sum);
        }

        Xor(sum, key);
        sum.CopyTo(stripes[last..]);
    }

    private static void Xor(Span<byte> into, ReadOnlySpan<byte> other)
    {
        for (var i = 0; i < into.Length; i++)
            into[i] ^= other[i];
    }

    /// <summary>Replaces each piece as long as a digest, and what is left, with the digest of its number and itself.</summary>
    private static void Diffuse(LuksHash hash, Span<byte> block)
    {
        var length = LuksHashes.Length(hash);
        Span<byte> input = stackalloc byte[sizeof(int) + length];
        Span<byte> digest = stackalloc byte[length];
        for (var (at, number) = (0, 0); at < block.Length; at += length, number++)
        {
            var piece = block.Slice(at, Math.Min(length, block.Length - at));
            BinaryPrimitives.WriteInt32BigEndian(input, number);
            piece.CopyTo(input[sizeof(int)..]);
            Digests.Hash(hash, input[..(sizeof(int) + piece.Length)], digest);
            digest[..piece.Length].CopyTo(piece);
        }

        input.Clear();
        digest.Clear();
    }
}
