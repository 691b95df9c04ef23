using System;
using System.Reflection;
using System.Runtime.InteropServices;

namespace Qcow2Blk.Interop;

/// <summary>
/// The decompressors, as their own headers declare them: <c>libdeflate.h</c>, <c>zlib.h</c> (zlib-ng in the native
/// binary) and <c>zstd.h</c>. Linked in by NativeAOT; under the JIT they come from the system's shared libraries.
/// </summary>
internal static unsafe partial class Inflate
{
    public const int LIBDEFLATE_SUCCESS = 0;
    public const int LIBDEFLATE_INSUFFICIENT_SPACE = 3;
    public const int Z_OK = 0;
    public const int Z_STREAM_END = 1;
    public const int Z_BUF_ERROR = -5;
    public const int Z_FINISH = 4;

    static Inflate() => NativeLibrary.SetDllImportResolver(typeof(Inflate).Assembly, Resolve);

    [LibraryImport("libdeflate")]
    public static partial nint libdeflate_alloc_decompressor();

    [LibraryImport("libdeflate")]
    public static partial void libdeflate_free_decompressor(nint decompressor);

    [LibraryImport("libdeflate")]
    public static partial int libdeflate_deflate_decompress_ex(
        nint decompressor, void* input, nuint inputLength, void* output, nuint outputLength, nuint* actualInput, nuint* actualOutput);

    [LibraryImport("libqz", EntryPoint = "inflateInit2_")]
    public static partial int inflateInit2_(z_stream* stream, int windowBits, byte* version, int streamSize);

    [LibraryImport("libqz", EntryPoint = "inflateReset")]
    public static partial int inflateReset(z_stream* stream);

    [LibraryImport("libqz", EntryPoint = "inflateEnd")]
    public static partial int inflateEnd(z_stream* stream);

    [LibraryImport("libqz", EntryPoint = "inflate")]
    public static partial int inflate(z_stream* stream, int flush);

    [LibraryImport("libzstd")]
    public static partial nint ZSTD_createDCtx();

    [LibraryImport("libzstd")]
    public static partial nuint ZSTD_freeDCtx(nint context);

    [LibraryImport("libzstd")]
    public static partial nuint ZSTD_sizeof_DCtx(nint context);

    [LibraryImport("libzstd")]
    public static partial nuint ZSTD_DCtx_reset(nint context, int directive);

    [LibraryImport("libzstd")]
    public static partial nuint ZSTD_decompressStream(nint context, ZSTD_outBuffer* output, ZSTD_inBuffer* input);

    [LibraryImport("libzstd")]
    public static partial uint ZSTD_isError(nuint code);

    private static nint Resolve(string name, Assembly assembly, DllImportSearchPath? path) => name switch
    {
        "libqz" => NativeLibrary.Load("libz.so.1"),
        "libdeflate" => NativeLibrary.Load("libdeflate.so.0"),
        "libzstd" => NativeLibrary.Load("libzstd.so.1"),
        _ => 0,
    };
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct z_stream
{
    public byte* next_in;
    public uint avail_in;
    public nuint total_in;
    public byte* next_out;
    public uint avail_out;
    public nuint total_out;
    public byte* msg;
    public nint state;
    public nint zalloc;
    public nint zfree;
    public nint opaque;
    public int data_type;
    public nuint adler;
    public nuint reserved;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct ZSTD_inBuffer
{
    public void* src;
    public nuint size;
    public nuint pos;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct ZSTD_outBuffer
{
    public void* dst;
    public nuint size;
    public nuint pos;
}
