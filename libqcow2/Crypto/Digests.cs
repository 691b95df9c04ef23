using System;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Crypto;

/// <summary>Digests and key derivation, done by libcrypto, which was opened before.</summary>
internal static class Digests
{
    /// <summary>One digest of some bytes.</summary>
    public static void Hash(LuksHash hash, ReadOnlySpan<byte> data, Span<byte> result) =>
        Require(LibCrypto.Hash(Find(hash), data, result), hash);

    /// <param name="data">up to all there is: it is not copied</param>
    /// <param name="result">32 bytes</param>
    public static void Sha256(ReadOnlySpan<byte> data, Span<byte> result) => Hash(LuksHash.Sha256, data, result);

    /// <summary>PBKDF2 with HMAC.</summary>
    public static void DeriveKey(LuksHash hash, ReadOnlySpan<byte> passphrase, ReadOnlySpan<byte> salt, int iterations, Span<byte> key) =>
        Require(LibCrypto.DeriveKey(Find(hash), passphrase, salt, iterations, key), hash);

    private static nint Find(LuksHash hash) => LibCrypto.Digest(hash switch
    {
        LuksHash.Sha1 => "sha1\0"u8,
        LuksHash.Sha224 => "sha224\0"u8,
        LuksHash.Sha256 => "sha256\0"u8,
        LuksHash.Sha384 => "sha384\0"u8,
        _ => "sha512\0"u8,
    });

    private static void Require(bool done, LuksHash hash)
    {
        if (!done)
            throw new CryptoException($"libcrypto cannot compute {LuksHashes.Words.Of(hash)}");
    }
}
