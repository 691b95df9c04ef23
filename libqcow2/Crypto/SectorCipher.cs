using System;
using System.Threading;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Crypto;

/// <summary>
/// Encrypts and decrypts sectors of 512 bytes, each with a vector of its own. Any number of threads at once: each call takes a
/// context for as long as it runs.
/// </summary>
internal sealed unsafe class SectorCipher : IDisposable
{
    private const int BlockLength = 16;

    private readonly LuksCipher _spec;
    private readonly SecretMemory _key;
    private readonly SecretMemory? _essivKey;
    private readonly ContextPool _encryptors;
    private readonly ContextPool _decryptors;
    private readonly ContextPool? _essiv;

    /// <param name="spec">the cipher</param>
    /// <param name="key">its key, which is copied</param>
    /// <exception cref="CryptoException">libcrypto does not have it</exception>
    public SectorCipher(LuksCipher spec, ReadOnlySpan<byte> key)
    {
        if (key.Length != spec.KeyBytes)
            throw new ArgumentException($"a key of {key.Length} bytes for {spec}", nameof(key));
        var cipher = Require(spec);
        _spec = spec;
        _key = SecretMemory.CopyOf(key);
        var pads = spec.Mode != CipherMode.Xts;
        _encryptors = new ContextPool(cipher, _key, encrypt: true, pads);
        _decryptors = new ContextPool(cipher, _key, encrypt: false, pads);
        if (spec.GeneratorHash is not { } hash)
            return;
        _essivKey = new SecretMemory(LuksHashes.Length(hash));
        Digests.Hash(hash, key, _essivKey.Span);
        _essiv = new ContextPool(LibCrypto.Cipher("aes-256-ecb\0"u8), _essivKey, encrypt: true, pads: true);
    }

    /// <summary>Decrypts whole sectors.</summary>
    /// <param name="sector">number of the first</param>
    /// <param name="from">what is read</param>
    /// <param name="to">where the result goes; may be the same memory</param>
    /// <returns>0, or -EIO if libcrypto fails</returns>
    public int Decrypt(long sector, NativeBuffer from, NativeBuffer to) => Run(_decryptors, sector, from, to);

    /// <summary>As <see cref="Decrypt"/>, the other way.</summary>
    public int Encrypt(long sector, NativeBuffer from, NativeBuffer to) => Run(_encryptors, sector, from, to);

    public void Dispose()
    {
        _encryptors.Dispose();
        _decryptors.Dispose();
        _essiv?.Dispose();
        _key.Dispose();
        _essivKey?.Dispose();
    }

    /// <exception cref="CryptoException">libcrypto does not have it</exception>
    private static nint Require(LuksCipher spec)
    {
        if (LibCrypto.Load() is { } failure)
            throw new CryptoException(failure);
        var found = LibCrypto.Cipher((spec.Mode, spec.KeyBytes) switch
        {
            (CipherMode.Xts, 32) => "aes-128-xts\0"u8,
            (CipherMode.Xts, _) => "aes-256-xts\0"u8,
            (_, 16) => "aes-128-cbc\0"u8,
            _ => "aes-256-cbc\0"u8,
        });
        return found != 0 ? found : throw new CryptoException($"libcrypto has no {spec.Algorithm}-{CipherModes.Words.Of(spec.Mode)}");
    }

    private int Run(ContextPool pool, long sector, NativeBuffer from, NativeBuffer to)
    {
        Invariant.Holds(from.Length % LuksHeader.SectorSize == 0, "whole sectors are encrypted", from.Length);
        Invariant.Holds(to.Length >= from.Length, "what is encrypted has room", from.Length, to.Length);
        var context = pool.Take();
        var essiv = _essiv?.Take() ?? 0;
        var done = context != 0 && (_essiv is null || essiv != 0) && RunSectors(context, essiv, sector, from, to);
        if (context != 0)
            pool.Give(context);
        if (essiv != 0)
            _essiv!.Give(essiv);
        return done ? 0 : -Errno.EIO;
    }

    private bool RunSectors(nint context, nint essiv, long sector, NativeBuffer from, NativeBuffer to)
    {
        var vector = stackalloc byte[BlockLength];
        for (var done = 0; done < from.Length; done += LuksHeader.SectorSize)
        {
            *(long*)vector = _spec.Generator == IvGenerator.Plain ? (uint)sector : sector;
            *(long*)(vector + sizeof(long)) = 0;
            sector++;
            if (essiv != 0 && !LibCrypto.Run(essiv, null, vector, vector, BlockLength))
                return false;
            if (!LibCrypto.Run(context, vector, (byte*)from.Address + done, (byte*)to.Address + done, LuksHeader.SectorSize))
                return false;
        }

        return true;
    }

    /// <summary>Contexts with the key already expanded, one for each thread that is at it.</summary>
    private sealed class ContextPool(nint cipher, SecretMemory key, bool encrypt, bool pads) : IDisposable
    {
        private readonly nint[] _free = new nint[Math.Max(8, Environment.ProcessorCount * 2)];

        /// <returns>0 if there is no memory for one</returns>
        public nint Take()
        {
            for (var i = 0; i < _free.Length; i++)
            {
                if (Volatile.Read(ref _free[i]) != 0 && Interlocked.Exchange(ref _free[i], 0) is var found and not 0)
                    return found;
            }

            var context = LibCrypto.NewContext();
            if (context != 0 && LibCrypto.SetKey(context, cipher, key.Span, encrypt, pads))
                return context;
            if (context != 0)
                LibCrypto.FreeContext(context);
            return 0;
        }

        public void Give(nint context)
        {
            for (var i = 0; i < _free.Length; i++)
            {
                if (Interlocked.CompareExchange(ref _free[i], context, 0) == 0)
                    return;
            }

            LibCrypto.FreeContext(context);
        }

        public void Dispose()
        {
            for (var i = 0; i < _free.Length; i++)
            {
                if (Interlocked.Exchange(ref _free[i], 0) is var context and not 0)
                    LibCrypto.FreeContext(context);
            }
        }
    }
}
