#pragma warning disable CA1707, IDE1006 // The C names.

namespace Qcow2Blk.Interop;

/// <summary>Numbers of curl/curl.h and curl/multi.h.</summary>
internal static unsafe partial class LibCurl
{
    internal const int CURL_GLOBAL_ALL = 3;

    internal const int CURLE_OK = 0;
    internal const int CURLE_OUT_OF_MEMORY = 27;
    internal const int CURLE_OPERATION_TIMEDOUT = 28;
    internal const int CURLE_ABORTED_BY_CALLBACK = 42;

    internal const int CURLOPT_WRITEDATA = 10001;
    internal const int CURLOPT_URL = 10002;
    internal const int CURLOPT_ERRORBUFFER = 10010;
    internal const int CURLOPT_WRITEFUNCTION = 20011;
    internal const int CURLOPT_USERAGENT = 10018;
    internal const int CURLOPT_HTTPHEADER = 10023;
    internal const int CURLOPT_HEADERDATA = 10029;
    internal const int CURLOPT_FOLLOWLOCATION = 52;
    internal const int CURLOPT_SSL_VERIFYPEER = 64;
    internal const int CURLOPT_CAINFO = 10065;
    internal const int CURLOPT_FRESH_CONNECT = 74;
    internal const int CURLOPT_HEADERFUNCTION = 20079;
    internal const int CURLOPT_SSL_VERIFYHOST = 81;
    internal const int CURLOPT_HTTP_VERSION = 84;
    internal const int CURLOPT_BUFFERSIZE = 98;
    internal const int CURLOPT_NOSIGNAL = 99;
    internal const int CURLOPT_CONNECTTIMEOUT_MS = 156;
    internal const int CURLOPT_NOPROXY = 10177;
    internal const int CURLOPT_PROTOCOLS = 181;
    internal const int CURLOPT_TCP_KEEPALIVE = 213;
    internal const int CURLOPT_HEADEROPT = 229;
    internal const int CURLOPT_PATH_AS_IS = 234;
    internal const int CURLOPT_SUPPRESS_CONNECT_HEADERS = 265;
    internal const int CURLOPT_PROTOCOLS_STR = 10318;

    internal const int CURLPROTO_HTTP = 1;
    internal const int CURLPROTO_HTTPS = 2;
    internal const int CURL_HTTP_VERSION_2TLS = 4;
    internal const int CURLHEADER_SEPARATE = 1;
    internal const int CURL_ERROR_SIZE = 256;

    internal const int CURLINFO_REDIRECT_URL = 0x100000 + 31;
    internal const int CURLINFO_PRETRANSFER_TIME_T = 0x600000 + 53;

    internal const int CURLM_OK = 0;
    internal const int CURLMSG_DONE = 1;
    internal const int CURLMOPT_SOCKETFUNCTION = 20001;
    internal const int CURLMOPT_SOCKETDATA = 10002;
    internal const int CURLMOPT_TIMERFUNCTION = 20004;
    internal const int CURLMOPT_TIMERDATA = 10005;
    internal const int CURLMOPT_MAXCONNECTS = 6;

    internal const int CURL_POLL_IN = 1;
    internal const int CURL_POLL_OUT = 2;
    internal const int CURL_POLL_INOUT = 3;
    internal const int CURL_POLL_REMOVE = 4;
    internal const int CURL_SOCKET_TIMEOUT = -1;
    internal const int CURL_CSELECT_IN = 1;
    internal const int CURL_CSELECT_OUT = 2;
    internal const int CURL_CSELECT_ERR = 4;

    internal struct CURLMsg
    {
        public int msg;
        public nint easy_handle;

        /// <summary>The union: a result when the message is CURLMSG_DONE.</summary>
        public int result;
    }
}
