using System;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Qcow2Blk.Embedding;
using Qcow2Blk.Interop;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Abi;

/// <summary>
/// The managed half of include/qcow2blk.h, which documents it: guard.c calls these. They check what C can get wrong, make
/// one call, and turn what is thrown into an errno: no exception crosses the border.
/// </summary>
internal static unsafe partial class Exports
{
    private static readonly Handles s_handles = new();

    /// <summary>The first call of the process, by which the runtime starts.</summary>
    [UnmanagedCallersOnly(EntryPoint = "managed_start", CallConvs = [typeof(CallConvCdecl)])]
    private static int Start() => 0;

    [UnmanagedCallersOnly(EntryPoint = "managed_has_feature", CallConvs = [typeof(CallConvCdecl)])]
    private static int HasFeature(byte* name, uint flags)
    {
        if (name is null)
            return LastError.Missing();
        if (flags != 0)
            return LastError.UnknownFlags();
        try
        {
            return Features.Has(Text.Of(name)!) ? 1 : 0;
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.Of(error, "cannot look for a feature"));
        }
    }

    [UnmanagedCallersOnly(EntryPoint = "managed_set_log", CallConvs = [typeof(CallConvCdecl)])]
    private static int SetLog(delegate* unmanaged[Cdecl]<void*, int, byte*, void> callback, void* userData, int level, uint flags)
    {
        if (flags != 0)
            return LastError.UnknownFlags();
        if (level is < (int)LogLevel.Error or > (int)LogLevel.Debug)
            return LastError.Set(-Errno.EINVAL, "there is no such log level"u8);
        try
        {
            var result = HostLog.Instance.Set(callback is null ? null : (of, message) =>
            {
                var text = Marshal.StringToCoTaskMemUTF8(message);
                callback(userData, (int)of, (byte*)text);
                Marshal.FreeCoTaskMem(text);
            }, (LogLevel)level);
            return result == 0 ? 0 : WouldWait(result);
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.Of(error, "cannot set the log"));
        }
    }

    private static int WouldWait(int error) =>
        LastError.Set(error, "this waits, which a callback of the library must not do"u8);

    /// <summary>Puts a handle where the caller wants it.</summary>
    private static int GiveHandle(object value, nint* place)
    {
        *place = s_handles.Add(value);
        return *place != 0 ? 0 : LastError.Set(-Errno.EMFILE, "too many handles are open"u8);
    }
}
