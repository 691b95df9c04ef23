using System;
using DotNext.Runtime.InteropServices;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Image;

/// <summary>Decompresses one cluster on the calling thread; keeps its working memory per thread.</summary>
/// <remarks>Invariant: the native contexts belong to one thread and live as long as the process.</remarks>
internal static unsafe class Inflater
{
    // qemu writes raw deflate with a 4 KiB window, but accepts any; so do we.
    private const int LargestRawWindow = -15;

    private const nuint LargestKeptContext = 8 << 20;

    [ThreadStatic]
    private static nint s_libdeflate;

    [ThreadStatic]
    private static UnmanagedMemory<z_stream>? s_zlib;

    [ThreadStatic]
    private static nint s_zstd;

    /// <summary>Fills <paramref name="output"/>, exactly one cluster.</summary>
    /// <returns>0; -EIO if the data is not one whole compressed cluster; -ENOMEM</returns>
    public static int Run(CompressionType type, NativeBuffer input, NativeBuffer output) =>
        type == CompressionType.Zstd ? RunZstd(input, output) : RunDeflate(input, output);

    private static int RunDeflate(NativeBuffer input, NativeBuffer output)
    {
        if (s_libdeflate == 0)
            s_libdeflate = Inflate.libdeflate_alloc_decompressor();
        if (s_libdeflate == 0)
            return -Errno.ENOMEM;
        nuint consumed, produced;
        var result = Inflate.libdeflate_deflate_decompress_ex(
            s_libdeflate, (void*)input.Address, (nuint)input.Length, (void*)output.Address, (nuint)output.Length, &consumed, &produced);
        if (result == Inflate.LIBDEFLATE_SUCCESS)
            return produced == (nuint)output.Length ? 0 : -Errno.EIO;

        // A stream may go on after the cluster is full: legal for qemu, which stops there, and so does zlib.
        return result == Inflate.LIBDEFLATE_INSUFFICIENT_SPACE ? RunZlib(input, output) : -Errno.EIO;
    }

    private static int RunZlib(NativeBuffer input, NativeBuffer output)
    {
        if ((s_zlib ??= StartZlib()) is not { } memory)
            return -Errno.ENOMEM;
        z_stream* stream = memory.Pointer;
        if (Inflate.inflateReset(stream) != Inflate.Z_OK)
            return -Errno.EIO;
        stream->next_in = (byte*)input.Address;
        stream->avail_in = (uint)input.Length;
        stream->next_out = (byte*)output.Address;
        stream->avail_out = (uint)output.Length;
        var result = Inflate.inflate(stream, Inflate.Z_FINISH);
        return result is Inflate.Z_STREAM_END or Inflate.Z_BUF_ERROR && stream->avail_out == 0 ? 0 : -Errno.EIO;
    }

    private static UnmanagedMemory<z_stream>? StartZlib()
    {
        var stream = new UnmanagedMemory<z_stream>(default);
        var version = "1.2.13\0"u8;
        fixed (byte* text = version)
        {
            if (Inflate.inflateInit2_(stream.Pointer, LargestRawWindow, text, sizeof(z_stream)) != Inflate.Z_OK)
            {
                stream.Dispose();
                return null;
            }
        }

        return stream;
    }

    private static int RunZstd(NativeBuffer input, NativeBuffer output)
    {
        const int resetSession = 1;
        if (s_zstd == 0)
            s_zstd = Inflate.ZSTD_createDCtx();
        if (s_zstd == 0)
            return -Errno.ENOMEM;
        Inflate.ZSTD_DCtx_reset(s_zstd, resetSession);
        ZSTD_inBuffer source = new() { src = (void*)input.Address, size = (nuint)input.Length };
        ZSTD_outBuffer target = new() { dst = (void*)output.Address, size = (nuint)output.Length };

        // A frame may ask for a window of up to 128 MiB; memory that large is not kept for the next cluster.
        var error = Decompress(&source, &target);
        if (Inflate.ZSTD_sizeof_DCtx(s_zstd) <= LargestKeptContext)
            return error;
        Inflate.ZSTD_freeDCtx(s_zstd);
        s_zstd = 0;
        return error;
    }

    private static int Decompress(ZSTD_inBuffer* source, ZSTD_outBuffer* target)
    {
        // A cluster may hold several frames; a round without progress means there is no more.
        while (target->pos < target->size)
        {
            var (consumed, produced) = (source->pos, target->pos);
            var result = Inflate.ZSTD_decompressStream(s_zstd, target, source);
            if (Inflate.ZSTD_isError(result) != 0 || (source->pos == consumed && target->pos == produced))
                return -Errno.EIO;
        }

        return 0;
    }
}
