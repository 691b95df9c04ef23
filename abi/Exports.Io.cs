using System;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Qcow2Blk.Embedding;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Abi;

/// <summary>qcow2blk_image_*: synchronous I/O.</summary>
internal static unsafe partial class Exports
{
    // IOV_MAX of Linux.
    private const int MaximumPieces = 1024;

    // Extents that are asked for at a time.
    private const int ExtentsAtOnce = 64;

    [UnmanagedCallersOnly(EntryPoint = "managed_image_pread", CallConvs = [typeof(CallConvCdecl)])]
    private static nint ImageRead(nint image, byte* buffer, nuint count, ulong offset, uint flags) =>
        flags != 0 ? LastError.UnknownFlags() : Transfer(image, RequestKind.Read, buffer, count, offset, flags);

    [UnmanagedCallersOnly(EntryPoint = "managed_image_pwrite", CallConvs = [typeof(CallConvCdecl)])]
    private static nint ImageWrite(nint image, byte* buffer, nuint count, ulong offset, uint flags) =>
        (flags & ~(uint)RequestFlags.ForceUnitAccess) != 0
            ? LastError.UnknownFlags() : Transfer(image, RequestKind.Write, buffer, count, offset, flags);

    [UnmanagedCallersOnly(EntryPoint = "managed_image_preadv", CallConvs = [typeof(CallConvCdecl)])]
    private static nint ImageReadVector(nint image, MemoryPiece* pieces, int count, ulong offset, uint flags) =>
        flags != 0 ? LastError.UnknownFlags() : TransferVector(image, RequestKind.Read, pieces, count, offset, flags);

    [UnmanagedCallersOnly(EntryPoint = "managed_image_pwritev", CallConvs = [typeof(CallConvCdecl)])]
    private static nint ImageWriteVector(nint image, MemoryPiece* pieces, int count, ulong offset, uint flags) =>
        (flags & ~(uint)RequestFlags.ForceUnitAccess) != 0
            ? LastError.UnknownFlags() : TransferVector(image, RequestKind.Write, pieces, count, offset, flags);

    [UnmanagedCallersOnly(EntryPoint = "managed_image_flush", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageFlush(nint image, uint flags) =>
        flags != 0 ? LastError.UnknownFlags() : (int)Execute(image, new RequestShape(RequestKind.Flush, 0, 0, 0, RequestFlags.None));

    [UnmanagedCallersOnly(EntryPoint = "managed_image_discard", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageDiscard(nint image, ulong offset, ulong length, uint flags) =>
        (flags & ~(uint)RequestFlags.ForceUnitAccess) != 0
            ? LastError.UnknownFlags() : (int)Change(image, RequestKind.Discard, offset, length, flags);

    [UnmanagedCallersOnly(EntryPoint = "managed_image_write_zeroes", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageWriteZeroes(nint image, ulong offset, ulong length, uint flags) =>
        (flags & ~(uint)AllRequestFlags) != 0
            ? LastError.UnknownFlags() : (int)Change(image, RequestKind.WriteZeroes, offset, length, flags);

    [UnmanagedCallersOnly(EntryPoint = "managed_image_block_status", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageBlockStatus(nint image, ulong offset, ulong length,
        delegate* unmanaged[Cdecl]<void*, StatusExtent*, int> callback, void* userData, uint flags)
    {
        if (callback is null)
            return LastError.Missing();
        if (flags != 0)
            return LastError.UnknownFlags();
        var extents = stackalloc StatusExtent[ExtentsAtOnce];
        do
        {
            var shape = Shape(RequestKind.BlockStatus, (nint)extents, offset, length, flags) with { Extents = ExtentsAtOnce };
            var found = Execute(image, shape);
            if (found <= 0)
                return (int)found;
            for (var i = 0; i < found; i++)
            {
                var result = callback(userData, &extents[i]);
                if (result != 0)
                    return result;
                offset += extents[i].Length;
                length -= extents[i].Length;
            }
        }
        while (length > 0);
        return 0;
    }

    private const RequestFlags AllRequestFlags = RequestFlags.ForceUnitAccess | RequestFlags.NoHole | RequestFlags.FastZero;

    /// <summary>What no disk has becomes a range that is refused.</summary>
    private static RequestShape Shape(RequestKind kind, nint address, ulong offset, ulong length, uint flags) => new(
        kind, address, offset > long.MaxValue ? -1 : (long)offset, length > long.MaxValue ? -1 : (long)length, (RequestFlags)flags);

    private static nint Transfer(nint image, RequestKind kind, byte* buffer, nuint count, ulong offset, uint flags) =>
        buffer is null && count > 0 ? LastError.Missing() : (nint)Execute(image, Shape(kind, (nint)buffer, offset, count, flags));

    private static nint TransferVector(nint image, RequestKind kind, MemoryPiece* pieces, int count, ulong offset, uint flags)
    {
        if (CheckPieces(pieces, count, out var length) is var refusal and < 0)
            return refusal;
        return (nint)Execute(image, Shape(kind, 0, offset, length, flags), new ReadOnlySpan<MemoryPiece>(pieces, count));
    }

    private static long Change(nint image, RequestKind kind, ulong offset, ulong length, uint flags) =>
        Execute(image, Shape(kind, 0, offset, length, flags)) is var result and < 0 ? result : 0;

    private static long Execute(nint image, in RequestShape shape, ReadOnlySpan<MemoryPiece> pieces = default)
    {
        try
        {
            if (s_handles.Find<OpenImage>(image) is not { } opened)
                return LastError.NotAHandle();
            var result = opened.Execute(shape, pieces);
            return result >= 0 ? result : opened.Lost is { } why ? LastError.Set((int)result, why) : IoFailed((int)result);
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.Of(error, "the request failed"));
        }
    }

    /// <returns>0 and the sum of the lengths; or a negative errno</returns>
    private static int CheckPieces(MemoryPiece* pieces, int count, out ulong length)
    {
        length = 0;
        if (count is < 0 or > MaximumPieces)
            return LastError.Set(-Errno.EINVAL, "iovcnt is negative or over 1024"u8);
        if (pieces is null && count > 0)
            return LastError.Missing();
        for (var i = 0; i < count; i++)
        {
            if (pieces[i].Address == 0 && pieces[i].Length > 0)
                return LastError.Missing();
            if (pieces[i].Length > long.MaxValue - length)
                return IoFailed(-Errno.EINVAL);
            length += pieces[i].Length;
        }

        return 0;
    }

    private static int IoFailed(int error) => error switch
    {
        -Errno.EINVAL => LastError.Set(error, "the range is not on the disk"u8),
        -Errno.ESHUTDOWN => LastError.Set(error, "the image is being closed"u8),
        -Errno.EAGAIN => LastError.Set(error, "too many requests are in flight"u8),
        -Errno.EROFS => LastError.Set(error, "the image is open for reading only"u8),
        -Errno.EDEADLK or -Errno.EPERM => ThreadRefused(error),
        _ => LastError.Set(error, Errno.Text(error)),
    };
}
