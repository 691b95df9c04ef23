using System.Runtime.InteropServices;

namespace Qcow2Blk.Interop;

/// <summary>Error numbers of <c>asm-generic/errno.h</c>, and the kernel's convention: 0 or more is success, below 0 a negated
/// errno.</summary>
/// <remarks>Constants, as patterns need them; Tmds.LibC has properties.</remarks>
internal static class Errno
{
    public const int EPERM = 1;
    public const int ENOENT = 2;
    public const int ESRCH = 3;
    public const int EINTR = 4;
    public const int EIO = 5;
    public const int ENXIO = 6;
    public const int E2BIG = 7;
    public const int ENOEXEC = 8;
    public const int EBADF = 9;
    public const int EAGAIN = 11;
    public const int ENOMEM = 12;
    public const int EACCES = 13;
    public const int EBUSY = 16;
    public const int EEXIST = 17;
    public const int ENODEV = 19;
    public const int ENOTDIR = 20;
    public const int EISDIR = 21;
    public const int EINVAL = 22;
    public const int EMFILE = 24;
    public const int EFBIG = 27;
    public const int ENOSPC = 28;
    public const int EROFS = 30;
    public const int EPIPE = 32;
    public const int ERANGE = 34;
    public const int EDEADLK = 35;
    public const int ENAMETOOLONG = 36;
    public const int ENOSYS = 38;
    public const int ENOTEMPTY = 39;
    public const int ELOOP = 40;
    public const int ETIME = 62;
    public const int EOVERFLOW = 75;
    public const int EOPNOTSUPP = 95;
    public const int EADDRINUSE = 98;
    public const int EADDRNOTAVAIL = 99;
    public const int ECONNRESET = 104;
    public const int ESHUTDOWN = 108;
    public const int ETIMEDOUT = 110;
    public const int ECONNREFUSED = 111;
    public const int EUCLEAN = 117;
    public const int EDQUOT = 122;
    public const int ECANCELED = 125;
    public const int ENOTRECOVERABLE = 131;

    /// <summary>Turns what libc returned (-1 with errno set) into the kernel's convention.</summary>
    internal static int Of(int result) => result < 0 ? -Marshal.GetLastPInvokeError() : result;

    internal static long Of(long result) => result < 0 ? -Marshal.GetLastPInvokeError() : result;

    /// <summary>The text of strerror for a positive or negated errno, in house style: "no such file or directory".</summary>
    public static string Text(int error)
    {
        var text = Marshal.GetPInvokeErrorMessage(error < 0 ? -error : error);
        return text.Length > 1 && char.IsUpper(text[0]) && !char.IsUpper(text[1])
            ? char.ToLowerInvariant(text[0]) + text[1..]
            : text;
    }
}
