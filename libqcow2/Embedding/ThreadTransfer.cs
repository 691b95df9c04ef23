using System;
using System.Runtime.InteropServices;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Interop;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Embedding;

/// <summary>
/// The fast path of a thread that is no loop: a range that is mapped and lies in one piece of a file is read or written there by
/// the thread itself, with one system call and no other thread.
/// </summary>
/// <remarks>
/// An epoch of the disk is held meanwhile: what the range was mapped to is not used for anything else. Whatever is not whole
/// and right at the first attempt goes to the loop of the image, which is careful.
/// </remarks>
internal static unsafe class ThreadTransfer
{
    /// <summary>Reads all of a range, if that can be done so.</summary>
    /// <param name="image">whose disk it is</param>
    /// <param name="address">room for it</param>
    /// <param name="length">not 0; on the disk</param>
    /// <param name="offset">of the range on the disk</param>
    /// <returns>whether it was read; if not, the memory may hold anything</returns>
    public static bool TryRead(OpenImage image, nint address, int length, long offset)
    {
        if (image.Served.Disk is not { } disk)
            return false;
        var entered = disk.Epochs.EnterShared();
        try
        {
            if (!image.MayTransfer(disk, offset, length))
                return false;
            if (disk.TryMapRead(offset, length, out var extent))
                return TryReadPiece(disk, extent, address, length, offset);
            if (!disk.TryMapZeroes(offset, length))
                return false;
            new Span<byte>((void*)address, length).Clear();
            return true;
        }
        finally
        {
            disk.Epochs.ExitShared(entered);
        }
    }

    /// <summary>Writes all of a range in place, if that can be done so.</summary>
    /// <returns>whether it was written; if not, any part of it may have been</returns>
    public static bool TryWrite(OpenImage image, nint address, int length, long offset)
    {
        if (image.Served.Disk is not { } disk)
            return false;
        var entered = disk.Epochs.EnterShared();
        try
        {
            if (!image.MayTransfer(disk, offset, length) || !disk.TryMapWrite(offset, length, out var extent)
                || FileOf(extent) is not { } file || !IsAligned(extent, file, length))
            {
                return false;
            }

            var isWritten = IsAligned(file, address) && extent.File.CipherFile is null
                ? TransferWhole(file, address, length, extent.Offset, isWrite: true)
                : WriteBounced(extent, file, address, length);

            // Before the epoch ends: a close that waits for it must see that there is something to flush.
            disk.NoteDirectWrite();
            return isWritten;
        }
        finally
        {
            disk.Epochs.ExitShared(entered);
        }
    }

    private static bool TryReadPiece(IDisk disk, in FileExtent extent, nint address, int length, long offset)
    {
        if (FileOf(extent) is not { } file)
            return false;
        if (!IsAligned(extent, file, length))
            return ReadAround(disk, extent, file, address, length, offset);
        return IsAligned(file, address)
            ? ReadWhole(extent, file, address, length)
            : ReadBounced(extent, file, address, length, skip: 0, length);
    }

    /// <summary>Reads the whole sectors around a range, if they are mapped to one piece too.</summary>
    private static bool ReadAround(IDisk disk, in FileExtent inner, FileStorage file, nint address, int length, long offset)
    {
        var unit = inner.File.OffsetAlignment;
        var start = Rounding.Down(offset, unit);
        var around = Rounding.Up(offset + length, unit) - start;
        return around <= int.MaxValue && start + around <= disk.Size && disk.TryMapRead(start, (int)around, out var extent)
            && extent.File == inner.File && IsAligned(extent, file, (int)around)
            && ReadBounced(extent, file, address, length, skip: (int)(offset - start), (int)around);
    }

    /// <summary>Reads through memory that the file takes.</summary>
    private static bool ReadBounced(in FileExtent extent, FileStorage file, nint address, int length, int skip, int around)
    {
        var bounce = (nint)NativeMemory.AlignedAlloc((nuint)around, (nuint)file.MemoryAlignment);
        try
        {
            if (!ReadWhole(extent, file, bounce, around))
                return false;
            new ReadOnlySpan<byte>((void*)(bounce + skip), length).CopyTo(new Span<byte>((void*)address, length));
            return true;
        }
        finally
        {
            NativeMemory.AlignedFree((void*)bounce);
        }
    }

    /// <summary>Writes a copy: the file takes that memory, or it is where the bytes are encrypted.</summary>
    private static bool WriteBounced(in FileExtent extent, FileStorage file, nint address, int length)
    {
        var bounce = (nint)NativeMemory.AlignedAlloc((nuint)length, (nuint)file.MemoryAlignment);
        try
        {
            var (plain, copy) = (new NativeBuffer(address, length), new NativeBuffer(bounce, length));
            if (extent.File.CipherFile is not { } cipher)
                plain.Span.CopyTo(copy.Span);
            else if (cipher.Encrypt(extent.Offset, plain, copy) < 0)
                return false;
            return TransferWhole(file, bounce, length, extent.Offset, isWrite: true);
        }
        finally
        {
            NativeMemory.AlignedFree((void*)bounce);
        }
    }

    private static bool ReadWhole(in FileExtent extent, FileStorage file, nint address, int length) =>
        TransferWhole(file, address, length, extent.Offset, isWrite: false)
            && (extent.File.CipherFile is not { } cipher || cipher.Decrypt(extent.Offset, new NativeBuffer(address, length)) == 0);

    private static FileStorage? FileOf(in FileExtent extent) => extent.File.CipherFile?.File ?? extent.File.DirectFile;

    private static bool TransferWhole(FileStorage file, nint address, int length, long hostOffset, bool isWrite)
    {
        while (true)
        {
            var moved = isWrite
                ? Files.Write(file.Descriptor, (void*)address, (nuint)length, hostOffset)
                : Files.Read(file.Descriptor, (void*)address, (nuint)length, hostOffset);
            if (moved != -Errno.EINTR)
                return moved == length;
        }
    }

    private static bool IsAligned(in FileExtent extent, FileStorage file, int length) =>
        extent.File.CipherFile?.IsAligned(extent.Offset, length) ?? ((extent.Offset | (uint)length) & (file.OffsetAlignment - 1)) == 0;

    private static bool IsAligned(FileStorage file, nint address) => (address & (file.MemoryAlignment - 1)) == 0;
}
