using System;
using System.Runtime.InteropServices;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Interop;

/// <summary>unistd.h: what the command and the control plane need of files and processes.</summary>
internal static unsafe partial class Unistd
{
    internal static int Close(int fd) => close(fd);

    /// <summary>syncfs(2): everything of the file system that the descriptor is on.</summary>
    internal static int SyncFileSystem(int fd) => Errno.Of(syncfs(fd));

    internal static int Dup2(int from, int to) => dup2(from, to);

    /// <summary>Puts another open file behind a descriptor, at one instant; it does not survive exec.</summary>
    /// <returns>the descriptor, or a negative errno</returns>
    internal static int Replace(int from, int to) => Errno.Of(dup3(from, to, O_CLOEXEC));

    /// <returns>0, or -1 with the last error set</returns>
    internal static int Unlink(string path)
    {
        using var name = new CString(path, stackalloc byte[CString.Room]);
        return unlink(name);
    }

    /// <returns>0, or -1 with the last error set</returns>
    internal static int RemoveDirectory(string path)
    {
        using var name = new CString(path, stackalloc byte[CString.Room]);
        return rmdir(name);
    }

    /// <returns>0, or -1 with the last error set</returns>
    internal static int Link(string existing, string added)
    {
        using var from = new CString(existing, stackalloc byte[CString.Room]);
        using var to = new CString(added, stackalloc byte[CString.Room]);
        return link(from, to);
    }

    /// <summary>Removes a name from an open directory.</summary>
    /// <param name="directory">the directory</param>
    /// <param name="name">in it</param>
    /// <param name="flags">AT_REMOVEDIR for an empty directory, 0 for anything else</param>
    /// <returns>0 or a negative errno</returns>
    internal static int UnlinkAt(int directory, string name, int flags = 0)
    {
        using var text = new CString(name, stackalloc byte[CString.Room]);
        return Errno.Of(unlinkat(directory, text, flags));
    }

    /// <summary>Gives a file of an open directory another name in it; a file of that name is replaced, at one instant.</summary>
    /// <returns>0 or a negative errno</returns>
    internal static int RenameAt(int directory, string from, string to) => Errno.Of(RenameAtRaw(directory, from, directory, to));

    internal const int AT_REMOVEDIR = 0x200;

    [LibraryImport("libc", EntryPoint = "renameat", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int RenameAtRaw(int fromDirectory, string from, int toDirectory, string to);

    [LibraryImport("libc", EntryPoint = "rename", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int Rename(string from, string to);

    /// <returns>0, or -1 with the last error set</returns>
    internal static int ChangeDirectory(string path)
    {
        using var name = new CString(path, stackalloc byte[CString.Room]);
        return chdir(name);
    }

    internal static uint EffectiveUser() => geteuid();

    internal static uint EffectiveGroup() => getegid();

    internal static int ParentProcess() => getppid();

    [LibraryImport("libc", EntryPoint = "realpath", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint RealPathRaw(string path, nint buffer);

    [LibraryImport("libc", EntryPoint = "free")]
    private static partial void Free(nint memory);

    /// <summary>What a symbolic link says, as bytes; null where it cannot be read or is longer than any path (PATH_MAX).</summary>
    internal static byte[]? ReadLink(string path)
    {
        const int PathMax = 4096;
        var buffer = stackalloc byte[PathMax];
        using var name = new CString(path, stackalloc byte[CString.Room]);
        long length = readlink(name, buffer, PathMax);
        return length is > 0 and < PathMax ? new ReadOnlySpan<byte>(buffer, (int)length).ToArray() : null;
    }

    /// <returns>bytes read, 0 at the end, or a negative errno</returns>
    internal static int Read(int fd, Span<byte> buffer)
    {
        fixed (byte* start = buffer)
        {
            while (true)
            {
                long count = read(fd, start, buffer.Length);
                if (count >= 0)
                    return (int)count;
                var errno = Marshal.GetLastPInvokeError();
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
            long count;
            fixed (byte* start = data)
                count = write(fd, start, data.Length);
            if (count >= 0)
                data = data[(int)count..];
            else if (Marshal.GetLastPInvokeError() is Errno.EAGAIN)
                _ = UnixSocket.WaitWritable(fd, -1); // A pipe or terminal that somebody else made non-blocking.
            else if (Marshal.GetLastPInvokeError() is var errno and not Errno.EINTR)
                return -errno;
        }

        return 0;
    }

    /// <summary>A pipe whose ends do not survive exec.</summary>
    /// <returns>0 or a negative errno</returns>
    internal static int Pipe(out int readEnd, out int writeEnd)
    {
        var ends = stackalloc int[2];
        var result = pipe2(ends, O_CLOEXEC);
        readEnd = ends[0];
        writeEnd = ends[1];
        return result == 0 ? 0 : -Marshal.GetLastPInvokeError();
    }

    /// <summary>The path without symbolic links, or null where it cannot be resolved (it does not exist).</summary>
    internal static string? RealPath(string path)
    {
        var resolved = RealPathRaw(path, 0);
        if (resolved == 0)
            return null;
        var result = Marshal.PtrToStringUTF8(resolved);
        Free(resolved);
        return result;
    }
}
