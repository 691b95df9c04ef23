using System;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Qcow2Blk.Embedding;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Abi;

/// <summary>qcow2blk_image_aio_*: asynchronous I/O, and the loop of an image without a thread.</summary>
internal static unsafe partial class Exports
{
    /// <summary>struct qcow2blk_notify.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct Notify
    {
        public uint Size;
        public uint Reserved;
        public nint Queue;
        public nint Callback;
        public nint UserData;
    }

    [UnmanagedCallersOnly(EntryPoint = "managed_image_aio_pread", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageAioRead(nint image, byte* buffer, nuint count, ulong offset, Notify* notify, uint flags)
    {
        if (flags != 0)
            return LastError.UnknownFlags();
        return buffer is null && count > 0
            ? LastError.Missing() : Submit(image, Shape(RequestKind.Read, (nint)buffer, offset, count, flags), notify);
    }

    [UnmanagedCallersOnly(EntryPoint = "managed_image_aio_pwrite", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageAioWrite(nint image, byte* buffer, nuint count, ulong offset, Notify* notify, uint flags)
    {
        if ((flags & ~(uint)RequestFlags.ForceUnitAccess) != 0)
            return LastError.UnknownFlags();
        return buffer is null && count > 0
            ? LastError.Missing() : Submit(image, Shape(RequestKind.Write, (nint)buffer, offset, count, flags), notify);
    }

    [UnmanagedCallersOnly(EntryPoint = "managed_image_aio_preadv", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageAioReadVector(nint image, MemoryPiece* pieces, int count, ulong offset, Notify* notify, uint flags) =>
        flags != 0 ? LastError.UnknownFlags() : SubmitVector(image, RequestKind.Read, pieces, count, offset, notify, flags);

    [UnmanagedCallersOnly(EntryPoint = "managed_image_aio_pwritev", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageAioWriteVector(nint image, MemoryPiece* pieces, int count, ulong offset, Notify* notify, uint flags) =>
        (flags & ~(uint)RequestFlags.ForceUnitAccess) != 0
            ? LastError.UnknownFlags() : SubmitVector(image, RequestKind.Write, pieces, count, offset, notify, flags);

    [UnmanagedCallersOnly(EntryPoint = "managed_image_aio_flush", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageAioFlush(nint image, Notify* notify, uint flags) =>
        flags != 0 ? LastError.UnknownFlags() : Submit(image, new RequestShape(RequestKind.Flush, 0, 0, 0, RequestFlags.None), notify);

    [UnmanagedCallersOnly(EntryPoint = "managed_image_aio_discard", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageAioDiscard(nint image, ulong offset, ulong length, Notify* notify, uint flags) =>
        (flags & ~(uint)RequestFlags.ForceUnitAccess) != 0
            ? LastError.UnknownFlags() : Submit(image, Shape(RequestKind.Discard, 0, offset, length, flags), notify);

    [UnmanagedCallersOnly(EntryPoint = "managed_image_aio_write_zeroes", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageAioWriteZeroes(nint image, ulong offset, ulong length, Notify* notify, uint flags) =>
        (flags & ~(uint)AllRequestFlags) != 0
            ? LastError.UnknownFlags() : Submit(image, Shape(RequestKind.WriteZeroes, 0, offset, length, flags), notify);

    [UnmanagedCallersOnly(EntryPoint = "managed_image_aio_block_status", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageAioBlockStatus(
        nint image, ulong offset, ulong length, StatusExtent* extents, uint max, Notify* notify, uint flags)
    {
        if (extents is null)
            return LastError.Missing();
        if (flags != 0)
            return LastError.UnknownFlags();
        if (max == 0 || length == 0)
            return LastError.Set(-Errno.EINVAL, "there is no extent to be filled in"u8);
        var room = (int)Math.Min(max, int.MaxValue);
        return Submit(image, Shape(RequestKind.BlockStatus, (nint)extents, offset, length, flags) with { Extents = room }, notify);
    }

    [UnmanagedCallersOnly(EntryPoint = "managed_image_in_flight", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageInFlight(nint image) => s_handles.Find<OpenImage>(image)?.InFlight ?? LastError.NotAHandle();

    [UnmanagedCallersOnly(EntryPoint = "managed_image_fd", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageFd(nint image)
    {
        if (FindDriven(image, out var opened) is var refusal and < 0)
            return refusal;
        return opened!.WatchDescriptor;
    }

    [UnmanagedCallersOnly(EntryPoint = "managed_image_process", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageProcess(nint image, uint flags)
    {
        if (FindDriven(image, out var opened) is var refusal and < 0)
            return refusal;
        if (flags != 0)
            return LastError.UnknownFlags();
        if (HostCallback.IsRunning)
            return WouldWait(-Errno.EDEADLK);
        try
        {
            return opened!.Process();
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.Of(error, "cannot run the loop of the image"));
        }
    }

    private static int FindDriven(nint image, out OpenImage? opened)
    {
        opened = s_handles.Find<OpenImage>(image);
        if (opened is null)
            return LastError.NotAHandle();
        if (!opened.IsDriven)
            return LastError.Set(-Errno.EINVAL, "the image has a thread of its own: it was not opened with QCOW2BLK_OPEN_CALLER_LOOP"u8);
        return opened.CheckThread(waits: false) is var refusal and < 0 ? ThreadRefused(refusal) : 0;
    }

    private static int SubmitVector(
        nint image, RequestKind kind, MemoryPiece* pieces, int count, ulong offset, Notify* notify, uint flags)
    {
        if (CheckPieces(pieces, count, out var length) is var refusal and < 0)
            return refusal;
        return Submit(image, Shape(kind, 0, offset, length, flags), notify, new ReadOnlySpan<MemoryPiece>(pieces, count));
    }

    private static int Submit(nint image, in RequestShape shape, Notify* notify, ReadOnlySpan<MemoryPiece> pieces = default)
    {
        try
        {
            if (s_handles.Find<OpenImage>(image) is not { } opened)
                return LastError.NotAHandle();
            if (Target(notify, out var target) is var refusal and < 0)
                return refusal;
            var result = opened.Submit(shape, pieces, target);
            return result >= 0 ? 0 : IoFailed(result);
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.Of(error, "the request was not accepted"));
        }
    }

    private static int Target(Notify* notify, out Notification target)
    {
        target = default;
        if (notify is null)
            return LastError.Missing();
        if (notify->Size < sizeof(Notify))
            return LastError.Set(-Errno.EINVAL, "size of the notification is too small"u8);
        if (notify->Queue == 0 && notify->Callback == 0)
            return LastError.Set(-Errno.EINVAL, "the notification names neither a queue nor a callback"u8);
        CompletionQueue? queue = null;
        if (notify->Queue != 0 && (queue = s_handles.Find<CompletionQueue>(notify->Queue)) is null)
            return LastError.NotAHandle();
        target = new Notification(queue, notify->Callback, notify->UserData);
        return 0;
    }
}
