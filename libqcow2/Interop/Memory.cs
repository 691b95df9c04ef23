using System;
using System.Globalization;
using System.IO;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Interop;

/// <summary>Memory locking and files in memory, of <c>sys/mman.h</c>.</summary>
internal static unsafe class Memory
{
    /// <summary>
    /// Keeps every page of this process in memory from its first use on, and brings its program and libraries in now: a
    /// server of a block device must not wait for pages that lie on that very device.
    /// </summary>
    /// <returns>0 or a negative errno; without CAP_IPC_LOCK it fails and changes nothing</returns>
    public static int LockAll()
    {
        var error = Errno.Of(mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT));
        if (error == 0)
            BringPrograms();
        return error;
    }

    /// <summary>
    /// Maps whole pages of their own that are never swapped out (where the limit of locked memory allows it) and are in no core
    /// dump, zeroed.
    /// </summary>
    /// <returns>the address, or 0 when there is no memory</returns>
    public static nint MapSecret(nuint length, out bool isLocked)
    {
        const int MADV_DONTDUMP = 16;
        isLocked = false;
        var address = Files.Map(length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (address == 0)
            return 0;
        isLocked = mlock((void*)address, (size_t)(ulong)length) == 0;
        _ = madvise((void*)address, (size_t)(ulong)length, MADV_DONTDUMP);
        return address;
    }

    /// <summary>Lets an action look at a file in memory while its pages cannot be swapped out, as far as the limit allows.</summary>
    /// <param name="fd">the file, which has that many bytes</param>
    /// <param name="length">bytes, at least 1</param>
    /// <param name="argument">for the action</param>
    /// <param name="action">what to do with the bytes</param>
    /// <returns>0 or a negative errno</returns>
    public static int WithLocked<T>(int fd, int length, T argument, FileAction<T> action)
    {
        var address = Files.Map((nuint)length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (address == 0)
            return -Errno.ENOMEM;
        _ = mlock((void*)address, (size_t)(ulong)length);
        action(new Span<byte>((void*)address, length), argument);
        return Files.Unmap(address, (nuint)length);
    }

    /// <summary>What is done with the bytes of a file.</summary>
    internal delegate void FileAction<T>(Span<byte> file, T argument);

    /// <summary>Makes a file that has no name in any directory (memfd_create), close-on-exec.</summary>
    /// <param name="name">shown in /proc/PID/fd</param>
    /// <returns>the descriptor, or a negative errno</returns>
    public static int CreateFile(string name)
    {
        using var text = new CString(name, stackalloc byte[CString.Room]);
        return Errno.Of(memfd_create(text, MFD_CLOEXEC));
    }

    /// <summary>Locks the executable mappings, which reads them from their files.</summary>
    private static void BringPrograms()
    {
        try
        {
            foreach (var line in File.ReadLines("/proc/self/maps"))
            {
                if (TryParseProgram(line, out var start, out var length))
                    _ = mlock((void*)start, (size_t)(ulong)length); // Best effort: what is missing is read when it is needed.
            }
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // Without proc they come as they are used.
        }
    }

    /// <param name="line">of /proc/PID/maps: "start-end r-xp offset device inode path"</param>
    /// <param name="start">address of the mapping</param>
    /// <param name="length">bytes of the mapping</param>
    /// <returns>whether it is a program or library</returns>
    internal static bool TryParseProgram(string line, out nuint start, out nuint length)
    {
        (start, length) = (0, 0);
        var dash = line.IndexOf('-', StringComparison.Ordinal);
        var space = line.IndexOf(' ', StringComparison.Ordinal);
        if (dash < 1 || space < dash || line.Length < space + 4 || line[space + 3] != 'x' || !line.Contains('/', StringComparison.Ordinal))
            return false;
        if (!nuint.TryParse(line.AsSpan(0, dash), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out start)
            || !nuint.TryParse(line.AsSpan(dash + 1, space - dash - 1), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture,
                out var end)
            || end <= start)
        {
            return false;
        }

        length = end - start;
        return true;
    }
}
