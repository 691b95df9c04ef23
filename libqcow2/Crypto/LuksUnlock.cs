using System;
using System.Security.Cryptography;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Crypto;

/// <summary>
/// Finds the key of a disk: every active key slot is tried with the passphrase. That takes seconds by design, so it is work for a
/// helper thread.
/// </summary>
/// <param name="header">the header</param>
/// <param name="material">the header with all its key material, as it is in the file</param>
/// <param name="passphrase">what may unlock a slot; it stays the caller's</param>
internal sealed class LuksUnlock(LuksHeader header, NativeBuffer material, SecretMemory passphrase) : IOffloadWork
{
    /// <summary>No slot is unlocked by the passphrase.</summary>
    public const int WrongPassphrase = -Errno.EACCES;

    /// <summary>The key, once <see cref="Execute"/> has returned 0; whoever takes it disposes of it.</summary>
    public SecretMemory? Key { get; private set; }

    /// <summary>Why it could not be tried, if that is so.</summary>
    public string? Failure { get; private set; }

    /// <returns>0; <see cref="WrongPassphrase"/>; -EIO if libcrypto fails</returns>
    public int Execute()
    {
        Failure = LibCrypto.Load();
        if (Failure is not null)
            return -Errno.EIO;
        var key = new SecretMemory(header.Cipher.KeyBytes);
        try
        {
            foreach (var slot in header.Slots)
            {
                if (!slot.IsActive || !TrySlot(slot, key))
                    continue;
                Key = key;
                return 0;
            }
        }
        catch (CryptoException failure)
        {
            Failure = failure.Message;
            key.Dispose();
            return -Errno.EIO;
        }

        key.Dispose();
        return WrongPassphrase;
    }

    private bool TrySlot(LuksKeySlot slot, SecretMemory key)
    {
        using var slotKey = new SecretMemory(header.Cipher.KeyBytes);
        Digests.DeriveKey(header.Hash, passphrase.Span, slot.Salt, slot.Iterations, slotKey.Span);
        using var cipher = new SectorCipher(header.Cipher, slotKey.Span);
        using var stripes = new SecretMemory(header.KeyMaterialBytes);
        if (cipher.Decrypt(0, material.Slice((int)slot.Offset, header.KeyMaterialBytes), stripes.Buffer) != 0)
            throw new CryptoException("libcrypto cannot decrypt key material");
        AntiForensic.Merge(header.Hash, stripes.Span, key.Span);
        Span<byte> digest = stackalloc byte[LuksHeader.DigestLength];
        Digests.DeriveKey(header.Hash, key.Span, header.KeyDigestSalt, header.KeyDigestIterations, digest);
        return CryptographicOperations.FixedTimeEquals(digest, header.KeyDigest);
    }
}
