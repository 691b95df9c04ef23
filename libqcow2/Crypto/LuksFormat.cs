using System;
using System.Buffers.Binary;
using System.Diagnostics;
using System.Text;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Crypto;

/// <summary>What a new LUKS header is to be like; the defaults are qemu's.</summary>
internal sealed record LuksFormatOptions
{
    /// <summary>qemu's <c>cipher-alg</c>, <c>cipher-mode</c>, <c>ivgen-alg</c> and <c>ivgen-hash-alg</c>.</summary>
    public LuksCipher Cipher { get; init; } = new(64, CipherMode.Xts, IvGenerator.Plain64, null);

    /// <summary>qemu's <c>hash-alg</c>.</summary>
    public LuksHash Hash { get; init; } = LuksHash.Sha256;

    /// <summary>qemu's <c>iter-time</c>: how long trying a passphrase shall take on this machine, in milliseconds.</summary>
    public int IterationTime { get; init; } = 2000;
}

/// <summary>Makes LUKS headers as qemu makes them: a random key, and one key slot for a passphrase.</summary>
internal static class LuksFormat
{
    private const int LeastIterations = 1000;

    /// <summary>qemu takes an eighth of the time for the digest that tells the right key.</summary>
    private const int DigestShare = 8;

    /// <summary>Bytes of a header with its key material, and nothing behind it: what the header extension says.</summary>
    public static int LengthOf(LuksCipher cipher) => (int)PayloadOffset(cipher);

    /// <summary>A new header with all its key material.</summary>
    /// <param name="options">what it is to be like</param>
    /// <param name="passphrase">unlocks the first key slot; stays the caller's</param>
    /// <returns>the bytes as they go into the image file, encrypted where they have to be</returns>
    /// <exception cref="CryptoException">libcrypto is not there, or refuses</exception>
    public static byte[] Make(LuksFormatOptions options, SecretMemory passphrase)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(passphrase);
        if (LibCrypto.Load() is { } failure)
            throw new CryptoException(failure);
        var cipher = options.Cipher;
        var header = new byte[LengthOf(cipher)];
        using var key = new SecretMemory(cipher.KeyBytes);
        var salt = header.AsSpan(132, LuksHeader.SaltLength);
        var slotSalt = header.AsSpan(216, LuksHeader.SaltLength);
        if (!LibCrypto.Random(key.Span) || !LibCrypto.Random(salt) || !LibCrypto.Random(slotSalt))
            throw new CryptoException("libcrypto has no random numbers");
        var digestIterations = Calibrate(options, LuksHeader.DigestLength, DigestShare);
        var slotIterations = Calibrate(options, cipher.KeyBytes, 1);
        WriteFields(header, options, digestIterations, slotIterations);
        Digests.DeriveKey(options.Hash, key.Span, salt, digestIterations, header.AsSpan(112, LuksHeader.DigestLength));
        WriteKeyMaterial(header, options, key, passphrase, slotSalt, slotIterations);
        return header;
    }

    private static void WriteFields(Span<byte> header, LuksFormatOptions options, int digestIterations, int slotIterations)
    {
        LuksHeader.Magic.CopyTo(header);
        BinaryPrimitives.WriteUInt16BigEndian(header[6..], 1);
        Encoding.ASCII.GetBytes("aes", header[8..]);
        Encoding.ASCII.GetBytes(options.Cipher.ModeName, header[40..]);
        Encoding.ASCII.GetBytes(LuksHashes.Words.Of(options.Hash), header[72..]);
        BinaryPrimitives.WriteUInt32BigEndian(header[104..], (uint)(PayloadOffset(options.Cipher) / LuksHeader.SectorSize));
        BinaryPrimitives.WriteUInt32BigEndian(header[108..], (uint)options.Cipher.KeyBytes);
        BinaryPrimitives.WriteUInt32BigEndian(header[164..], (uint)digestIterations);
        Encoding.ASCII.GetBytes(Guid.NewGuid().ToString(), header[168..]);
        for (var i = 0; i < LuksHeader.SlotCount; i++)
        {
            var slot = header[(208 + (i * 48))..];
            BinaryPrimitives.WriteUInt32BigEndian(slot, i == 0 ? LuksHeader.SlotEnabled : LuksHeader.SlotDisabled);
            BinaryPrimitives.WriteUInt32BigEndian(slot[4..], i == 0 ? (uint)slotIterations : 0);
            BinaryPrimitives.WriteUInt32BigEndian(slot[40..], (uint)(SlotOffset(options.Cipher, i) / LuksHeader.SectorSize));
            BinaryPrimitives.WriteUInt32BigEndian(slot[44..], LuksHeader.Stripes);
        }
    }

    private static void WriteKeyMaterial(
        Span<byte> header, LuksFormatOptions options, SecretMemory key, SecretMemory passphrase, ReadOnlySpan<byte> salt, int iterations)
    {
        using var slotKey = new SecretMemory(options.Cipher.KeyBytes);
        Digests.DeriveKey(options.Hash, passphrase.Span, salt, iterations, slotKey.Span);
        using var stripes = new SecretMemory(options.Cipher.KeyBytes * LuksHeader.Stripes);
        AntiForensic.Split(options.Hash, key.Span, stripes.Span);
        using var cipher = new SectorCipher(options.Cipher, slotKey.Span);
        if (cipher.Encrypt(0, stripes.Buffer, stripes.Buffer) != 0)
            throw new CryptoException("libcrypto cannot encrypt key material");
        stripes.Span.CopyTo(header[(int)SlotOffset(options.Cipher, 0)..]);
    }

    /// <summary>Rounds of PBKDF2 that take a share of the wanted time on this machine.</summary>
    private static int Calibrate(LuksFormatOptions options, int keyBytes, int share)
    {
        Span<byte> key = stackalloc byte[keyBytes];
        var rounds = 1 << 12;
        while (true)
        {
            var start = Stopwatch.GetTimestamp();
            Digests.DeriveKey(options.Hash, "calibration"u8, key[..Math.Min(16, keyBytes)], rounds, key);
            var milliseconds = Stopwatch.GetElapsedTime(start).TotalMilliseconds;

            // A measurement shorter than this says little; one that would never come is as good as the last.
            if (milliseconds < 50 && rounds < Limits.MaxLuksIterations / 2)
            {
                rounds *= 2;
                continue;
            }

            var wanted = rounds / milliseconds * options.IterationTime / share;
            return (int)Math.Clamp(wanted, LeastIterations, Limits.MaxLuksIterations);
        }
    }

    /// <summary>Each slot begins on 4 KiB, as qemu and cryptsetup place them.</summary>
    private static long SlotOffset(LuksCipher cipher, int slot) => LuksHeader.FirstKeyOffset
        + (slot * Rounding.Up((long)cipher.KeyBytes * LuksHeader.Stripes, LuksHeader.FirstKeyOffset));

    private static long PayloadOffset(LuksCipher cipher) => SlotOffset(cipher, LuksHeader.SlotCount);
}
