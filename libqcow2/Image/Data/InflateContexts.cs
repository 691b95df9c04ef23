using System.Runtime.InteropServices;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Image.Data;

/// <summary>The working memory of the decompressors, of one thread. It is made when it is first needed.</summary>
/// <remarks>
/// Threads that inflate end with their image, and nobody tells this object: once its thread is gone it is collected, and gives the
/// memory back. What it owns is plain memory: at that time another object with a finalizer might be gone before it.
/// </remarks>
internal sealed unsafe class InflateContexts
{
    // qemu writes raw deflate with a 4 KiB window, but accepts any; so do we.
    private const int LargestRawWindow = -15;

    private nint _deflate;
    private nint _zstd;
    private z_stream* _zlib;

    ~InflateContexts()
    {
        if (_deflate != 0)
            Inflate.libdeflate_free_decompressor(_deflate);
        if (_zlib is not null)
            _ = Inflate.inflateEnd(_zlib);
        NativeMemory.Free(_zlib);
        FreeZstd();
    }

    /// <summary>A libdeflate decompressor; 0 if there is no memory.</summary>
    public nint Deflate => _deflate != 0 ? _deflate : _deflate = Inflate.libdeflate_alloc_decompressor();

    /// <summary>A zstd context; 0 if there is no memory.</summary>
    public nint Zstd => _zstd != 0 ? _zstd : _zstd = Inflate.ZSTD_createDCtx();

    /// <summary>A zlib stream for raw deflate; null if there is no memory.</summary>
    public z_stream* Zlib => _zlib is not null ? _zlib : _zlib = StartZlib();

    public void FreeZstd()
    {
        if (_zstd != 0)
            _ = Inflate.ZSTD_freeDCtx(_zstd);
        _zstd = 0;
    }

    private static z_stream* StartZlib()
    {
        var stream = (z_stream*)NativeMemory.AllocZeroed((nuint)sizeof(z_stream));
        fixed (byte* version = "1.2.13\0"u8)
        {
            if (Inflate.inflateInit2_(stream, LargestRawWindow, version, sizeof(z_stream)) == Inflate.Z_OK)
                return stream;
        }

        NativeMemory.Free(stream);
        return null;
    }
}
