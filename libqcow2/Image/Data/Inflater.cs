using System;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Image.Data;

/// <summary>Decompresses one cluster on the calling thread; keeps its working memory per thread.</summary>
internal static unsafe class Inflater
{
    private const nuint LargestKeptContext = 8 << 20;

    [ThreadStatic]
    private static InflateContexts? s_contexts;

    private static InflateContexts Contexts => s_contexts ??= new InflateContexts();

    /// <summary>Fills <paramref name="output"/>, exactly one cluster.</summary>
    /// <returns>0; -EIO if the data is not one whole compressed cluster; -ENOMEM</returns>
    public static int Run(CompressionType type, NativeBuffer input, NativeBuffer output) =>
        type == CompressionType.Zstd ? RunZstd(input, output) : RunDeflate(input, output);

    private static int RunDeflate(NativeBuffer input, NativeBuffer output)
    {
        var decompressor = Contexts.Deflate;
        if (decompressor == 0)
            return -Errno.ENOMEM;
        nuint consumed, produced;
        var result = Inflate.libdeflate_deflate_decompress_ex(
            decompressor, (void*)input.Address, (nuint)input.Length, (void*)output.Address, (nuint)output.Length, &consumed, &produced);
        if (result == Inflate.LIBDEFLATE_SUCCESS)
            return produced == (nuint)output.Length ? 0 : -Errno.EIO;

        // A stream may go on after the cluster is full: legal for qemu, which stops there, and so does zlib.
        return result == Inflate.LIBDEFLATE_INSUFFICIENT_SPACE ? RunZlib(input, output) : -Errno.EIO;
    }

    private static int RunZlib(NativeBuffer input, NativeBuffer output)
    {
        var stream = Contexts.Zlib;
        if (stream is null)
            return -Errno.ENOMEM;
        if (Inflate.inflateReset(stream) != Inflate.Z_OK)
            return -Errno.EIO;
        stream->next_in = (byte*)input.Address;
        stream->avail_in = (uint)input.Length;
        stream->next_out = (byte*)output.Address;
        stream->avail_out = (uint)output.Length;
        var result = Inflate.inflate(stream, Inflate.Z_FINISH);
        return result is Inflate.Z_STREAM_END or Inflate.Z_BUF_ERROR && stream->avail_out == 0 ? 0 : -Errno.EIO;
    }

    private static int RunZstd(NativeBuffer input, NativeBuffer output)
    {
        const int resetSession = 1;
        var context = Contexts.Zstd;
        if (context == 0)
            return -Errno.ENOMEM;
        Inflate.ZSTD_DCtx_reset(context, resetSession);
        ZSTD_inBuffer source = new() { src = (void*)input.Address, size = (nuint)input.Length };
        ZSTD_outBuffer target = new() { dst = (void*)output.Address, size = (nuint)output.Length };

        // A frame may ask for a window of up to 128 MiB; memory that large is not kept for the next cluster.
        var error = Decompress(context, &source, &target);
        if (Inflate.ZSTD_sizeof_DCtx(context) > LargestKeptContext)
            Contexts.FreeZstd();
        return error;
    }

    private static int Decompress(nint context, ZSTD_inBuffer* source, ZSTD_outBuffer* target)
    {
        // A cluster may hold several frames; a round without progress means there is no more.
        while (target->pos < target->size)
        {
            var (consumed, produced) = (source->pos, target->pos);
            var result = Inflate.ZSTD_decompressStream(context, target, source);
            if (Inflate.ZSTD_isError(result) != 0 || (source->pos == consumed && target->pos == produced))
                return -Errno.EIO;
        }

        return 0;
    }
}
