using System;
using System.Text;

namespace Qcow2Blk.Exports.NbdSocket;

/// <summary>NBD URIs (the NBD project's doc/uri.md), for the default export.</summary>
internal static class NbdUri
{
    /// <summary>The port that IANA gave to NBD.</summary>
    public const int DefaultPort = 10809;

    /// <param name="path">the socket's absolute path</param>
    public static string ForUnixSocket(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        var uri = new StringBuilder("nbd+unix:///?socket=");
        foreach (var octet in Encoding.UTF8.GetBytes(path))
        {
            if (char.IsAsciiLetterOrDigit((char)octet) || "/-._~".Contains((char)octet, StringComparison.Ordinal))
                uri.Append((char)octet);
            else
                uri.Append('%').Append(octet.ToString("X2"));
        }

        return uri.ToString();
    }

    /// <param name="host">a name or address; IPv6 without brackets</param>
    /// <param name="port">the port that is really listened on</param>
    public static string ForTcp(string host, int port)
    {
        ArgumentNullException.ThrowIfNull(host);
        var authority = host.Contains(':', StringComparison.Ordinal) ? $"[{host}]" : host;
        return port == DefaultPort ? $"nbd://{authority}" : $"nbd://{authority}:{port}";
    }
}
