using System;
using System.Runtime.InteropServices;
using System.Text;
using Qcow2Blk.Embedding;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Abi;

/// <summary>What qcow2blk_last_error() tells the calling thread; the text is kept in guard.c.</summary>
internal static unsafe partial class LastError
{
    /// <summary>Keeps a failure and passes its errno on.</summary>
    /// <returns>a negative errno</returns>
    public static int Set(in Failure failure) => Set(failure.Error, failure.Text);

    /// <param name="error">a negative errno</param>
    /// <param name="text">one line in house style</param>
    /// <returns>the errno</returns>
    public static int Set(int error, string text)
    {
        var length = Encoding.UTF8.GetByteCount(text);
        var bytes = length <= 2048 ? stackalloc byte[length] : new byte[length];
        Encoding.UTF8.GetBytes(text, bytes);
        fixed (byte* first = bytes)
            Keep(-error, first, (nuint)length);
        return error;
    }

    /// <summary>An errno that says it all; nothing is allocated, as EAGAIN for one may come often.</summary>
    /// <param name="error">a negative errno</param>
    /// <param name="text">one line in house style, in UTF-8</param>
    /// <returns>the errno</returns>
    public static int Set(int error, ReadOnlySpan<byte> text)
    {
        fixed (byte* first = text)
            Keep(-error, first, (nuint)text.Length);
        return error;
    }

    public static int NotAHandle() => Set(-Errno.EINVAL, "the handle is NULL, closed or of another kind"u8);

    public static int Missing() => Set(-Errno.EINVAL, "an argument that must not be NULL is NULL"u8);

    public static int UnknownFlags() => Set(-Errno.EINVAL, "flags has bits that this function does not know"u8);

    [LibraryImport("guard", EntryPoint = "guard_set_error")]
    private static partial void Keep(int number, byte* text, nuint length);
}
