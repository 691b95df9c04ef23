using System;
using Qcow2Blk.Interop;
using Xunit;
using static Qcow2Blk.Tests.Support.CHeaders;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Numbers and layouts of libcurl, compared by a C compiler with its headers.</summary>
public sealed class CurlHeaderTests
{
    private static readonly string[] s_headers = ["curl/curl.h"];

    [Fact]
    public void Libcurl_is_as_its_headers_say()
    {
        Assert.SkipWhen(Compile(s_headers, "").Length > 0, "no headers of libcurl");
        AssertInC(s_headers,
            ("CURL_GLOBAL_ALL", LibCurl.CURL_GLOBAL_ALL), ("CURLE_OK", LibCurl.CURLE_OK),
            ("CURLE_OUT_OF_MEMORY", LibCurl.CURLE_OUT_OF_MEMORY), ("CURLE_OPERATION_TIMEDOUT", LibCurl.CURLE_OPERATION_TIMEDOUT),
            ("CURLE_ABORTED_BY_CALLBACK", LibCurl.CURLE_ABORTED_BY_CALLBACK),
            ("CURLOPT_WRITEDATA", LibCurl.CURLOPT_WRITEDATA), ("CURLOPT_URL", LibCurl.CURLOPT_URL),
            ("CURLOPT_ERRORBUFFER", LibCurl.CURLOPT_ERRORBUFFER), ("CURLOPT_WRITEFUNCTION", LibCurl.CURLOPT_WRITEFUNCTION),
            ("CURLOPT_USERAGENT", LibCurl.CURLOPT_USERAGENT), ("CURLOPT_HTTPHEADER", LibCurl.CURLOPT_HTTPHEADER),
            ("CURLOPT_HEADERDATA", LibCurl.CURLOPT_HEADERDATA), ("CURLOPT_FOLLOWLOCATION", LibCurl.CURLOPT_FOLLOWLOCATION),
            ("CURLOPT_SSL_VERIFYPEER", LibCurl.CURLOPT_SSL_VERIFYPEER), ("CURLOPT_CAINFO", LibCurl.CURLOPT_CAINFO),
            ("CURLOPT_HEADERFUNCTION", LibCurl.CURLOPT_HEADERFUNCTION), ("CURLOPT_SSL_VERIFYHOST", LibCurl.CURLOPT_SSL_VERIFYHOST),
            ("CURLOPT_HTTP_VERSION", LibCurl.CURLOPT_HTTP_VERSION), ("CURLOPT_BUFFERSIZE", LibCurl.CURLOPT_BUFFERSIZE),
            ("CURLOPT_NOSIGNAL", LibCurl.CURLOPT_NOSIGNAL), ("CURLOPT_CONNECTTIMEOUT_MS", LibCurl.CURLOPT_CONNECTTIMEOUT_MS),
            ("CURLOPT_TCP_KEEPALIVE", LibCurl.CURLOPT_TCP_KEEPALIVE), ("CURLOPT_NOPROXY", LibCurl.CURLOPT_NOPROXY),
            ("CURLOPT_PATH_AS_IS", LibCurl.CURLOPT_PATH_AS_IS),
            ("CURLOPT_SUPPRESS_CONNECT_HEADERS", LibCurl.CURLOPT_SUPPRESS_CONNECT_HEADERS),
            ("CURLPROTO_HTTP", LibCurl.CURLPROTO_HTTP), ("CURLPROTO_HTTPS", LibCurl.CURLPROTO_HTTPS),
            ("CURL_HTTP_VERSION_2TLS", LibCurl.CURL_HTTP_VERSION_2TLS), ("CURL_ERROR_SIZE", LibCurl.CURL_ERROR_SIZE),
            ("CURLINFO_REDIRECT_URL", LibCurl.CURLINFO_REDIRECT_URL),
            ("CURLINFO_PRETRANSFER_TIME_T", LibCurl.CURLINFO_PRETRANSFER_TIME_T),
            ("CURLM_OK", LibCurl.CURLM_OK), ("CURLMSG_DONE", LibCurl.CURLMSG_DONE),
            ("CURLMOPT_SOCKETFUNCTION", LibCurl.CURLMOPT_SOCKETFUNCTION), ("CURLMOPT_SOCKETDATA", LibCurl.CURLMOPT_SOCKETDATA),
            ("CURLMOPT_TIMERFUNCTION", LibCurl.CURLMOPT_TIMERFUNCTION), ("CURLMOPT_TIMERDATA", LibCurl.CURLMOPT_TIMERDATA),
            ("CURLMOPT_MAXCONNECTS", LibCurl.CURLMOPT_MAXCONNECTS),
            ("CURL_POLL_IN", LibCurl.CURL_POLL_IN), ("CURL_POLL_OUT", LibCurl.CURL_POLL_OUT),
            ("CURL_POLL_INOUT", LibCurl.CURL_POLL_INOUT), ("CURL_POLL_REMOVE", LibCurl.CURL_POLL_REMOVE),
            ("CURL_SOCKET_TIMEOUT", LibCurl.CURL_SOCKET_TIMEOUT), ("CURL_CSELECT_IN", LibCurl.CURL_CSELECT_IN),
            ("CURL_CSELECT_OUT", LibCurl.CURL_CSELECT_OUT), ("CURL_CSELECT_ERR", LibCurl.CURL_CSELECT_ERR));
        AssertInC(s_headers, Layout<LibCurl.CURLMsg>("CURLMsg", "msg", "easy_handle"));
        AssertInC(s_headers, ("offsetof(CURLMsg, data)", Offset<LibCurl.CURLMsg>("result")));
    }

    [Fact]
    public void Options_that_came_and_went_are_as_the_headers_say_that_have_them()
    {
        Assert.SkipWhen(Compile(s_headers, "#if LIBCURL_VERSION_NUM < 0x075500\n#error older\n#endif").Length > 0, "older than 7.85");
        AssertInC(s_headers, ("CURLOPT_PROTOCOLS_STR", LibCurl.CURLOPT_PROTOCOLS_STR));

        // The compiler would complain that this one is old.
        Assert.Equal("", Compile(s_headers, "#pragma GCC diagnostic ignored \"-Wdeprecated-declarations\"\n"
            + Assertion("CURLOPT_PROTOCOLS", LibCurl.CURLOPT_PROTOCOLS)));
    }

    [Fact]
    public void Library_that_is_not_there_is_named() =>
        Assert.Equal("cannot load libcurl.so.4711", LibCrypto.Open(["libcurl.so.4711"], out _));

    [Fact]
    public void Library_tells_its_version()
    {
        Assert.Null(LibCurl.Load());
        Assert.StartsWith("libcurl/", LibCurl.Version(), StringComparison.Ordinal);
    }
}
