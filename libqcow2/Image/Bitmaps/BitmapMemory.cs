using System;
using Qcow2Blk.Buffers;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Image.Bitmaps;

/// <summary>Memory for bits, all 0 at first. What is never set takes no memory, unless the process locks its memory.</summary>
internal sealed class BitmapMemory : IDisposable
{
    private readonly bool _owned;
    private bool _disposed;

    private BitmapMemory(NativeBuffer buffer, bool owned) => (Buffer, _owned) = (buffer, owned);

    public NativeBuffer Buffer { get; }

    /// <summary>Bytes that so many bits take: whole pages.</summary>
    public static int BytesFor(long bits) => checked((int)((Math.Max(bits, 1) + (8 * 4096) - 1) / (8 * 4096) * 4096));

    /// <exception cref="OutOfMemoryException">there is none</exception>
    public static BitmapMemory OfProcess(long bits)
    {
        var length = BytesFor(bits);
        var address = Files.Map((nuint)length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        return address == 0 ? throw new InsufficientMemoryException($"{length} bytes for a bitmap")
            : new BitmapMemory(new NativeBuffer(address, length), owned: true);
    }

    /// <summary>Memory that is another's, who frees it.</summary>
    public static BitmapMemory Of(NativeBuffer buffer) => new(buffer, owned: false);

    public void Dispose()
    {
        if (_owned && !_disposed)
            _ = Files.Unmap(Buffer.Address, (nuint)Buffer.Length);
        _disposed = true;
    }
}
