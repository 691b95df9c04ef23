using System;
using System.Runtime.InteropServices;

namespace Qcow2Blk.Interop;

/// <summary>unistd.h: what the command and the control plane need of files and processes.</summary>
internal static unsafe partial class Unistd
{
    [LibraryImport("libc", EntryPoint = "read", SetLastError = true)]
    private static partial nint ReadRaw(int fd, void* buffer, nuint count);

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    private static partial nint WriteRaw(int fd, void* buffer, nuint count);

    [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
    internal static partial int Close(int fd);

    [LibraryImport("libc", EntryPoint = "pipe2", SetLastError = true)]
    private static partial int Pipe2(int* ends, int flags);

    [LibraryImport("libc", EntryPoint = "dup2", SetLastError = true)]
    internal static partial int Dup2(int from, int to);

    [LibraryImport("libc", EntryPoint = "dup3", SetLastError = true)]
    private static partial int Dup3(int from, int to, int flags);

    /// <summary>Puts another open file behind a descriptor, at one instant; it does not survive exec.</summary>
    /// <returns>the descriptor, or a negative errno</returns>
    internal static int Replace(int from, int to) => Errno.Of(Dup3(from, to, Fcntl.O_CLOEXEC));

    [LibraryImport("libc", EntryPoint = "unlink", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int Unlink(string path);

    [LibraryImport("libc", EntryPoint = "rmdir", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int RemoveDirectory(string path);

    [LibraryImport("libc", EntryPoint = "link", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int Link(string existing, string added);

    [LibraryImport("libc", EntryPoint = "rename", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int Rename(string from, string to);

    [LibraryImport("libc", EntryPoint = "chdir", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int ChangeDirectory(string path);

    [LibraryImport("libc", EntryPoint = "geteuid")]
    internal static partial uint EffectiveUser();

    [LibraryImport("libc", EntryPoint = "getegid")]
    internal static partial uint EffectiveGroup();

    [LibraryImport("libc", EntryPoint = "getppid")]
    internal static partial int ParentProcess();

    [LibraryImport("libc", EntryPoint = "realpath", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint RealPathRaw(string path, nint buffer);

    [LibraryImport("libc", EntryPoint = "free")]
    private static partial void Free(nint memory);

    [LibraryImport("libc", EntryPoint = "readlink", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint ReadLinkRaw(string path, byte* buffer, nuint size);

    /// <summary>What a symbolic link says, as bytes; null where it cannot be read or is longer than any path (PATH_MAX).</summary>
    internal static byte[]? ReadLink(string path)
    {
        const int PathMax = 4096;
        byte* buffer = stackalloc byte[PathMax];
        nint length = ReadLinkRaw(path, buffer, PathMax);
        return length is > 0 and < PathMax ? new ReadOnlySpan<byte>(buffer, (int)length).ToArray() : null;
    }

    /// <returns>bytes read, 0 at the end, or a negative errno</returns>
    internal static int Read(int fd, Span<byte> buffer)
    {
        fixed (byte* start = buffer)
        {
            while (true)
            {
                nint count = ReadRaw(fd, start, (nuint)buffer.Length);
                if (count >= 0)
                    return (int)count;
                int errno = Marshal.GetLastPInvokeError();
                if (errno != Errno.EINTR)
                    return -errno;
            }
        }
    }

    /// <summary>Writes all of it.</summary>
    /// <returns>0 or a negative errno</returns>
    internal static int WriteAll(int fd, ReadOnlySpan<byte> data)
    {
        while (!data.IsEmpty)
        {
            nint count;
            fixed (byte* start = data)
                count = WriteRaw(fd, start, (nuint)data.Length);
            if (count >= 0)
                data = data[(int)count..];
            else if (Marshal.GetLastPInvokeError() is var errno and not Errno.EINTR)
                return -errno;
        }
        return 0;
    }

    /// <summary>A pipe whose ends do not survive exec.</summary>
    /// <returns>0 or a negative errno</returns>
    internal static int Pipe(out int readEnd, out int writeEnd)
    {
        int* ends = stackalloc int[2];
        int result = Pipe2(ends, Fcntl.O_CLOEXEC);
        readEnd = ends[0];
        writeEnd = ends[1];
        return result == 0 ? 0 : -Marshal.GetLastPInvokeError();
    }

    /// <summary>The path without symbolic links, or null where it cannot be resolved (it does not exist).</summary>
    internal static string? RealPath(string path)
    {
        nint resolved = RealPathRaw(path, 0);
        if (resolved == 0)
            return null;
        string? result = Marshal.PtrToStringUTF8(resolved);
        Free(resolved);
        return result;
    }
}
