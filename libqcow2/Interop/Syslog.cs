using System.Runtime.InteropServices;

namespace Qcow2Blk.Interop;

/// <summary>syslog.h.</summary>
internal static unsafe partial class Syslog
{
    internal const int LOG_PID = 0x01;
    internal const int LOG_NDELAY = 0x08;
    internal const int LOG_DAEMON = 3 << 3;
    internal const int LOG_ERR = 3;
    internal const int LOG_WARNING = 4;
    internal const int LOG_INFO = 6;
    internal const int LOG_DEBUG = 7;

    /// <summary>openlog keeps this pointer: it must live as long as the process.</summary>
    private static nint s_ident;

    [LibraryImport("libc", EntryPoint = "openlog")]
    private static partial void OpenRaw(nint ident, int options, int facility);

    [LibraryImport("libc", EntryPoint = "syslog", StringMarshalling = StringMarshalling.Utf8)]
    private static partial void LogRaw(int priority, string format, string message);

    internal static void Open(string ident)
    {
        s_ident = Marshal.StringToCoTaskMemUTF8(ident);
        OpenRaw(s_ident, LOG_PID, LOG_DAEMON);
    }

    internal static void Write(int priority, string message) => LogRaw(priority, "%s", message);
}
