using System;
using System.Globalization;

namespace Qcow2Blk.Remote.Http;

/// <summary>
/// Where a request goes: a URL that was taken apart here, and put together again for libcurl, so that what was checked is what is
/// asked. Path and query are left as they were written: a signature may be over them.
/// </summary>
/// <param name="IsTls">https</param>
/// <param name="Host">as the Host header has it, without a port</param>
/// <param name="Port">the number, also if it is the scheme's own</param>
/// <param name="Path">from its first slash, encoded</param>
/// <param name="Query">without the question mark; empty for none</param>
/// <param name="IsLoopback">whether it does not leave this machine</param>
internal sealed record HttpTarget(bool IsTls, string Host, int Port, string Path, string Query, bool IsLoopback)
{
    public string Scheme => IsTls ? "https" : "http";

    /// <summary>The value of the Host header that libcurl sends.</summary>
    public string HostHeader => Port == (IsTls ? 443 : 80) ? Host : string.Create(CultureInfo.InvariantCulture, $"{Host}:{Port}");

    public string Url => $"{Scheme}://{HostHeader}{Path}{(Query.Length == 0 ? "" : "?" + Query)}";

    /// <summary>Whether its query is signed, so that it must not be signed again.</summary>
    public bool IsSigned => Query.Contains("X-Amz-Signature=", StringComparison.OrdinalIgnoreCase);

    /// <summary>Reads a URL.</summary>
    /// <returns>null, or what is wrong with it: a part of a sentence, without the URL</returns>
    public static string? Parse(string text, out HttpTarget? target)
    {
        ArgumentNullException.ThrowIfNull(text);
        target = null;
        text = text.Split('#')[0];
        foreach (var symbol in text)
        {
            if (symbol is <= ' ' or (>= '\x7f' and <= '\x9f'))
                return "has a blank or a control character in it";
        }

        var raw = new UriCreationOptions { DangerousDisablePathAndQueryCanonicalization = true };
        if (!Uri.TryCreate(text, raw, out var uri))
            return "is not a URL";
        if (uri.Scheme != "https" && uri.Scheme != "http")
            return $"is not for HTTP but for \"{uri.Scheme}\"";
        if (uri.UserInfo.Length > 0)
            return "has credentials in it";
        if (uri.Host.Length == 0)
            return "names no host";
        var path = uri.PathAndQuery;
        if (!IsPlain(path) && Uri.TryCreate(text, UriKind.Absolute, out var canonical))
            path = canonical.PathAndQuery;
        if (!IsPlain(path))
            return "has a path that cannot be sent";
        var host = uri.HostNameType == UriHostNameType.IPv6 ? uri.Host : uri.IdnHost;
        var question = path.IndexOf('?', StringComparison.Ordinal);
        target = new HttpTarget(uri.Scheme == "https", host.ToLowerInvariant(), uri.Port, question < 0 ? path : path[..question],
            question < 0 ? "" : path[(question + 1)..], uri.IsLoopback);
        return null;
    }

    /// <summary>Whether another place is asked by the same host: only that one may see what was given for this.</summary>
    public bool HasHostOf(HttpTarget other)
    {
        ArgumentNullException.ThrowIfNull(other);
        return IsTls == other.IsTls && Host == other.Host && Port == other.Port;
    }

    private static bool IsPlain(string path)
    {
        foreach (var symbol in path)
        {
            if (symbol is not (> ' ' and < '\x7f') or '\\' or '#')
                return false;
        }

        return path.StartsWith('/');
    }
}
