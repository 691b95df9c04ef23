using System;
using System.Collections.Generic;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Crypto;

/// <summary>Opens the guest data of an encrypted image with a passphrase.</summary>
internal static class DiskKey
{
    private const int LegacyKeyBytes = 16;

    /// <summary>Reads and checks the LUKS header. On a loop.</summary>
    /// <exception cref="ImageFormatException">there is none, or it is damaged or not supported</exception>
    public static async LoopTask<LuksHeader> ReadHeaderAsync(IBlockStorage file, Header header)
    {
        var pointer = header.Encryption!;
        using var start = new SecretMemory(4096);
        await ReadAsync(file, header, pointer.Offset.Value, start.Buffer);
        return LuksHeader.Parse(start.Span[..LuksHeader.Length], pointer.Bytes, header.Path);
    }

    /// <summary>The plain bytes of the image's guest data. On a loop; the key is found on a helper thread.</summary>
    /// <param name="file">the image file, which has the LUKS header</param>
    /// <param name="data">where guest data lies; if that is another file, the result closes it</param>
    /// <param name="header">the image's header, with encryption</param>
    /// <param name="keys">tried one after the other, at least one; they stay the caller's</param>
    /// <exception cref="ImageFormatException">the header is damaged or not supported, or no key is the right one</exception>
    public static async LoopTask<EncryptedStorage> OpenAsync(
        IBlockStorage file, IBlockStorage data, Header header, IReadOnlyList<SecretMemory> keys)
    {
        RequireLibrary(header);
        try
        {
            return await UnlockAsync(file, data, header, keys);
        }
        catch (CryptoException refused)
        {
            throw new ImageFormatException(header.Path, "crypt_method", refused.Message);
        }
    }

    private static async LoopTask<EncryptedStorage> UnlockAsync(
        IBlockStorage file, IBlockStorage data, Header header, IReadOnlyList<SecretMemory> keys)
    {
        var isOther = !ReferenceEquals(file, data);
        if (header.CryptMethod == Header.LegacyAes)
            return new EncryptedStorage(data, isOther, LegacyCipher(header, keys), isByGuest: true);
        var luks = await ReadHeaderAsync(file, header);
        using var material = new SecretMemory((int)header.Encryption!.Bytes);
        await ReadAsync(file, header, header.Encryption.Offset.Value, material.Buffer);
        foreach (var passphrase in keys)
        {
            var unlock = new LuksUnlock(luks, material.Buffer, passphrase);
            var error = await LoopScheduler.Current.OffloadAsync(unlock);
            if (error == LuksUnlock.WrongPassphrase)
                continue;
            if (error < 0)
                throw new CryptoException(unlock.Failure ?? Errno.Text(error));
            using var key = unlock.Key!;
            return new EncryptedStorage(data, isOther, new SectorCipher(luks.Cipher, key.Span), isByGuest: false);
        }

        throw new ImageFormatException(
            header.Path, "key_slots", keys.Count == 1 ? "the key given unlocks no key slot of the image"
                : $"none of the {keys.Count} keys given unlocks a key slot of the image",
            "a newline at the end of a key file is part of the key");
    }

    /// <summary>The encryption of old: the passphrase itself, cut or filled up with zeroes, is the key.</summary>
    private static SectorCipher LegacyCipher(Header header, IReadOnlyList<SecretMemory> keys)
    {
        // Nothing in the image tells whether a key is the right one.
        if (keys.Count != 1)
        {
            throw new ImageFormatException(header.Path, "crypt_method",
                $"{keys.Count} keys were given, and nothing tells which of them is that of an image with legacy AES encryption");
        }

        var passphrase = keys[0];
        using var key = new SecretMemory(LegacyKeyBytes);
        passphrase.Span[..Math.Min(LegacyKeyBytes, passphrase.Length)].CopyTo(key.Span);
        return new SectorCipher(new LuksCipher(LegacyKeyBytes, CipherMode.Cbc, IvGenerator.Plain64, null), key.Span);
    }

    private static void RequireLibrary(Header header)
    {
        if (LibCrypto.Load() is not { } failure)
            return;
        throw new ImageFormatException(header.Path, "crypt_method",
            $"the image is encrypted, and OpenSSL's library cannot be used: {failure}",
            "install it: the package libssl3 (libssl3t64) of Debian and Ubuntu, openssl-libs of Fedora and RHEL")
        {
            IsMissing = true,
        };
    }

    private static async LoopTask<int> ReadAsync(IBlockStorage file, Header header, long offset, NativeBuffer buffer)
    {
        var error = await file.ReadAsync(offset, buffer);
        return error >= 0 ? error
            : throw new System.IO.IOException($"cannot read the encryption header of {header.Path}: {Errno.Text(error)}", -error);
    }
}
