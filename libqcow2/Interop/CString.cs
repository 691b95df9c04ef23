using System;
using System.Runtime.InteropServices.Marshalling;

namespace Qcow2Blk.Interop;

/// <summary>A string as C takes it: UTF-8 with a zero byte behind it, in the caller's stack frame if it is short.</summary>
internal readonly unsafe ref struct CString
{
    /// <summary>Bytes that the caller lends; a longer string is copied to the native heap until <see cref="Dispose"/>.</summary>
    internal const int Room = 256;

    private readonly Utf8StringMarshaller.ManagedToUnmanagedIn _bytes;

    /// <param name="text">the string</param>
    /// <param name="room">stack memory of <see cref="Room"/> bytes, which does not move</param>
    internal CString(string text, Span<byte> room)
    {
        var bytes = default(Utf8StringMarshaller.ManagedToUnmanagedIn);
        bytes.FromManaged(text, room);
        _bytes = bytes;
    }

    public static implicit operator byte*(in CString text) => text._bytes.ToUnmanaged();

    public void Dispose() => _bytes.Free();
}
