using System;
using System.Runtime.InteropServices;
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
        var disk = image.Served.Disk;
        var entered = disk.Epochs.EnterShared();
        try
        {
            if (image.IsClosing)
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
        var disk = image.Served.Disk;
        var entered = disk.Epochs.EnterShared();
        try
        {
            if (image.IsClosing || !disk.TryMapWrite(offset, length, out var extent) || extent.File.DirectFile is not { } file
                || !IsAligned(file, extent.Offset, length))
            {
                return false;
            }

            var isWritten = IsAligned(file, address)
                ? TransferWhole(file, address, length, extent.Offset, isWrite: true)
                : WriteBounced(file, address, length, extent.Offset);

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
        if (extent.File.DirectFile is not { } file)
            return false;
        if (!IsAligned(file, extent.Offset, length))
            return ReadAround(disk, file, address, length, offset);
        return IsAligned(file, address)
            ? TransferWhole(file, address, length, extent.Offset, isWrite: false)
            : ReadBounced(file, address, length, extent.Offset, skip: 0, length);
    }

    /// <summary>Reads the whole sectors around a range, if they are mapped to one piece too.</summary>
    private static bool ReadAround(IDisk disk, FileStorage file, nint address, int length, long offset)
    {
        var start = Rounding.Down(offset, file.OffsetAlignment);
        var around = Rounding.Up(offset + length, file.OffsetAlignment) - start;
        return around <= int.MaxValue && start + around <= disk.Size && disk.TryMapRead(start, (int)around, out var extent)
            && extent.File == file && IsAligned(file, extent.Offset, (int)around)
            && ReadBounced(file, address, length, extent.Offset, skip: (int)(offset - start), (int)around);
    }

    /// <summary>Reads through memory that the file takes.</summary>
    private static bool ReadBounced(FileStorage file, nint address, int length, long hostOffset, int skip, int around)
    {
        var bounce = (nint)NativeMemory.AlignedAlloc((nuint)around, (nuint)file.MemoryAlignment);
        try
        {
            if (!TransferWhole(file, bounce, around, hostOffset, isWrite: false))
                return false;
            new ReadOnlySpan<byte>((void*)(bounce + skip), length).CopyTo(new Span<byte>((void*)address, length));
            return true;
        }
        finally
        {
            NativeMemory.AlignedFree((void*)bounce);
        }
    }

    private static bool WriteBounced(FileStorage file, nint address, int length, long hostOffset)
    {
        var bounce = (nint)NativeMemory.AlignedAlloc((nuint)length, (nuint)file.MemoryAlignment);
        try
        {
            new ReadOnlySpan<byte>((void*)address, length).CopyTo(new Span<byte>((void*)bounce, length));
            return TransferWhole(file, bounce, length, hostOffset, isWrite: true);
        }
        finally
        {
            NativeMemory.AlignedFree((void*)bounce);
        }
    }

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

    private static bool IsAligned(FileStorage file, long hostOffset, int length) =>
        ((hostOffset | (uint)length) & (file.OffsetAlignment - 1)) == 0;

    private static bool IsAligned(FileStorage file, nint address) => (address & (file.MemoryAlignment - 1)) == 0;
}
