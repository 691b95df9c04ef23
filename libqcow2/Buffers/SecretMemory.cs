using System;
using System.Security.Cryptography;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Buffers;

/// <summary>
/// Memory for keys and passphrases: pages of their own, never in swap space or in a core dump, wiped when they are given back.
/// </summary>
/// <remarks>
/// Where the limit of locked memory (RLIMIT_MEMLOCK) is used up the pages may be swapped out; <see cref="IsLocked"/> tells.
/// </remarks>
internal sealed class SecretMemory : IDisposable
{
    private readonly nuint _mapped;
    private nint _address;
    private int _length;

    /// <param name="length">bytes, all zero in the beginning</param>
    /// <exception cref="InsufficientMemoryException">the host has no such memory</exception>
    public SecretMemory(int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        _mapped = (nuint)Math.Max(1, (length + Environment.SystemPageSize - 1) / Environment.SystemPageSize * Environment.SystemPageSize);
        _address = Memory.MapSecret(_mapped, out var isLocked);
        if (_address == 0)
            throw new InsufficientMemoryException($"cannot map {_mapped} bytes for a key");
        _length = length;
        IsLocked = isLocked;
    }

    ~SecretMemory()
    {
        Release();
    }

    /// <summary>Whether the pages stay in memory.</summary>
    public bool IsLocked { get; }

    public int Length => _length;

    public NativeBuffer Buffer =>
        _address != 0 ? new NativeBuffer(_address, _length) : throw new ObjectDisposedException(nameof(SecretMemory));

    public Span<byte> Span => Buffer.Span;

    /// <summary>A copy of bytes that the caller keeps, and wipes if they are secret.</summary>
    public static SecretMemory CopyOf(ReadOnlySpan<byte> bytes)
    {
        var copy = new SecretMemory(bytes.Length);
        bytes.CopyTo(copy.Span);
        return copy;
    }

    /// <summary>Drops the end: what is no part of the secret.</summary>
    public void Shorten(int length)
    {
        CryptographicOperations.ZeroMemory(Span[length..]);
        _length = length;
    }

    public void Dispose()
    {
        Release();
        GC.SuppressFinalize(this);
    }

    private void Release()
    {
        if (_address == 0)
            return;
        CryptographicOperations.ZeroMemory(new NativeBuffer(_address, (int)_mapped).Span);
        Files.Unmap(_address, _mapped);
        _address = 0;
        _length = 0;
    }
}
