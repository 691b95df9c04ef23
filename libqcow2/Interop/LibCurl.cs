using System;
using System.Runtime.InteropServices;
using System.Threading;

namespace Qcow2Blk.Interop;

/// <summary>
/// What we use of libcurl, as <c>curl/curl.h</c> and <c>curl/multi.h</c> declare it. The library is opened when the first base with a
/// URL is, and never before: who has none does not need it.
/// </summary>
internal static unsafe partial class LibCurl
{
    /// <summary>The libraries that have these functions: with OpenSSL, or with GnuTLS.</summary>
    internal static readonly string[] Names = ["libcurl.so.4", "libcurl-gnutls.so.4"];

    private static readonly Lock s_gate = new();
    private static bool s_isLoaded;
    private static delegate* unmanaged<long, int> s_globalInit;
    private static delegate* unmanaged<byte*> s_version;
    private static delegate* unmanaged<nint> s_easyInit;
    private static delegate* unmanaged<nint, void> s_easyCleanup;

    // These two take a variable argument in C. On Linux, x86-64 and arm64 pass a word there as they pass any other.
    private static delegate* unmanaged<nint, int, nint, int> s_easySetOption;
    private static delegate* unmanaged<nint, int, void*, int> s_easyGetInfo;

    private static delegate* unmanaged<int, byte*> s_easyText;
    private static delegate* unmanaged<nint, byte*, nint> s_listAppend;
    private static delegate* unmanaged<nint, void> s_listFree;
    private static delegate* unmanaged<nint> s_multiInit;
    private static delegate* unmanaged<nint, int> s_multiCleanup;
    private static delegate* unmanaged<nint, int, nint, int> s_multiSetOption;
    private static delegate* unmanaged<nint, nint, int> s_multiAdd;
    private static delegate* unmanaged<nint, nint, int> s_multiRemove;
    private static delegate* unmanaged<nint, int, int, int*, int> s_multiSocketAction;
    private static delegate* unmanaged<nint, int*, CURLMsg*> s_multiInfoRead;

    /// <summary>Opens the library, once.</summary>
    /// <returns>null, or why it cannot be used</returns>
    public static string? Load() => Load(Names);

    /// <summary>As the other, from libraries of these names, unless one was opened before.</summary>
    internal static string? Load(ReadOnlySpan<string> names)
    {
        lock (s_gate)
        {
            if (s_isLoaded)
                return null;
            if (LibCrypto.Open(names, out var library) is { } failure)
                return failure;
            try
            {
                Bind(library);
            }
            catch (EntryPointNotFoundException missing)
            {
                return missing.Message;
            }

            if (s_globalInit(CURL_GLOBAL_ALL) is var error and not CURLE_OK)
                return $"libcurl cannot be used: {Text(error)}";
            Volatile.Write(ref s_isLoaded, true);
            return null;
        }
    }

    /// <summary>The version and those of the libraries that it uses, as "libcurl/7.88.1 OpenSSL/3.0.19 …". Loaded.</summary>
    public static string Version() => Marshal.PtrToStringUTF8((nint)s_version()) ?? "";

    /// <summary>What an error of a transfer means. Loaded.</summary>
    public static string Text(int error) => Marshal.PtrToStringUTF8((nint)s_easyText(error)) ?? $"error {error}";

    internal static nint NewEasy() => s_easyInit();

    internal static void FreeEasy(nint easy) => s_easyCleanup(easy);

    internal static int SetOption(nint easy, int option, nint value) => s_easySetOption(easy, option, value);

    internal static int GetInfo(nint easy, int info, void* value) => s_easyGetInfo(easy, info, value);

    /// <returns>the list with a copy of the text at its end; 0 if there is no memory, and the list is as it was</returns>
    internal static nint Append(nint list, byte* text) => s_listAppend(list, text);

    internal static void FreeList(nint list) => s_listFree(list);

    internal static nint NewMulti() => s_multiInit();

    internal static int FreeMulti(nint multi) => s_multiCleanup(multi);

    internal static int SetMultiOption(nint multi, int option, nint value) => s_multiSetOption(multi, option, value);

    internal static int Add(nint multi, nint easy) => s_multiAdd(multi, easy);

    internal static int Remove(nint multi, nint easy) => s_multiRemove(multi, easy);

    internal static int SocketAction(nint multi, int socket, int events)
    {
        int running;
        return s_multiSocketAction(multi, socket, events, &running);
    }

    internal static CURLMsg* ReadInfo(nint multi)
    {
        int left;
        return s_multiInfoRead(multi, &left);
    }

    private static void Bind(nint library)
    {
        s_globalInit = (delegate* unmanaged<long, int>)NativeLibrary.GetExport(library, "curl_global_init");
        s_version = (delegate* unmanaged<byte*>)NativeLibrary.GetExport(library, "curl_version");
        s_easyInit = (delegate* unmanaged<nint>)NativeLibrary.GetExport(library, "curl_easy_init");
        s_easyCleanup = (delegate* unmanaged<nint, void>)NativeLibrary.GetExport(library, "curl_easy_cleanup");
        s_easySetOption = (delegate* unmanaged<nint, int, nint, int>)NativeLibrary.GetExport(library, "curl_easy_setopt");
        s_easyGetInfo = (delegate* unmanaged<nint, int, void*, int>)NativeLibrary.GetExport(library, "curl_easy_getinfo");
        s_easyText = (delegate* unmanaged<int, byte*>)NativeLibrary.GetExport(library, "curl_easy_strerror");
        s_listAppend = (delegate* unmanaged<nint, byte*, nint>)NativeLibrary.GetExport(library, "curl_slist_append");
        s_listFree = (delegate* unmanaged<nint, void>)NativeLibrary.GetExport(library, "curl_slist_free_all");
        s_multiInit = (delegate* unmanaged<nint>)NativeLibrary.GetExport(library, "curl_multi_init");
        s_multiCleanup = (delegate* unmanaged<nint, int>)NativeLibrary.GetExport(library, "curl_multi_cleanup");
        s_multiSetOption = (delegate* unmanaged<nint, int, nint, int>)NativeLibrary.GetExport(library, "curl_multi_setopt");
        s_multiAdd = (delegate* unmanaged<nint, nint, int>)NativeLibrary.GetExport(library, "curl_multi_add_handle");
        s_multiRemove = (delegate* unmanaged<nint, nint, int>)NativeLibrary.GetExport(library, "curl_multi_remove_handle");
        s_multiSocketAction = (delegate* unmanaged<nint, int, int, int*, int>)
            NativeLibrary.GetExport(library, "curl_multi_socket_action");
        s_multiInfoRead = (delegate* unmanaged<nint, int*, CURLMsg*>)NativeLibrary.GetExport(library, "curl_multi_info_read");
    }
}
