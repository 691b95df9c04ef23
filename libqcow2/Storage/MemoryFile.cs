using System;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Storage;

/// <summary>
/// Transfers with a file that is memory anyway (tmpfs): a plain system call copies and returns, where the ring would
/// wake a worker thread for each, as tmpfs has no non-blocking I/O.
/// </summary>
internal static unsafe class MemoryFile
{
    /// <returns>0, or a negative errno; what lies past the end of the file reads as zeroes</returns>
    public static int Run(FileStorage file, byte opcode, long offset, long length, nint address, uint mode)
    {
        switch (opcode)
        {
            case IoUring.IORING_OP_READ:
                return Read(file.Descriptor, offset, length, address);
            case IoUring.IORING_OP_WRITE:
                var error = Write(file.Descriptor, offset, length, address);
                if (error == 0)
                    file.NoteWritten(offset + length);
                return error;
            case IoUring.IORING_OP_FSYNC:
                return Files.SyncData(file.Descriptor);
            case IoUring.IORING_OP_FALLOCATE:
                return Files.Allocate(file.Descriptor, (int)mode, offset, length);
            default:
                return -Errno.EINVAL;
        }
    }

    private static int Read(int descriptor, long offset, long length, nint address)
    {
        while (length > 0)
        {
            var read = Files.Read(descriptor, (void*)address, (nuint)length, offset);
            if (read == -Errno.EINTR)
                continue;
            if (read < 0)
                return (int)read;
            if (read == 0)
                break;
            offset += read;
            address += (nint)read;
            length -= read;
        }

        new Span<byte>((void*)address, (int)length).Clear();
        return 0;
    }

    private static int Write(int descriptor, long offset, long length, nint address)
    {
        while (length > 0)
        {
            var written = Files.Write(descriptor, (void*)address, (nuint)length, offset);
            if (written == -Errno.EINTR)
                continue;
            if (written <= 0)
                return written == 0 ? -Errno.EIO : (int)written;
            offset += written;
            address += (nint)written;
            length -= written;
        }

        return 0;
    }
}
