using System;
using System.Collections.Generic;
using System.Globalization;
using System.Text;
using Qcow2Blk.Protocol;

namespace Qcow2Blk.Remote.Nbd;

/// <summary>Where an export is, as the NBD project's doc/uri.md writes it.</summary>
/// <param name="Host">a name or address, without brackets; null on a unix socket</param>
/// <param name="Port">of TCP</param>
/// <param name="SocketPath">the unix socket's absolute path; null for TCP</param>
/// <param name="Export">the export's name; empty for the default one</param>
/// <param name="IsTls">whether nothing but the beginning of the handshake may be sent in clear</param>
internal sealed record NbdAddress(string? Host, int Port, string? SocketPath, string Export, bool IsTls)
{
    private const int LongestSocketPath = 107;

    /// <summary>A directory with the certificates of both sides, and the client's key; null for none.</summary>
    public string? Certificates { get; init; }

    /// <summary>Reads the URL of an export.</summary>
    /// <returns>null, or what is wrong with it</returns>
    public static string? Parse(RemoteLocation location, out NbdAddress? address)
    {
        ArgumentNullException.ThrowIfNull(location);
        address = null;
        if (Split(location.Text, out var path, out var query) is { } wrong)
            return wrong;
        // Exactly one slash is not part of the name.
        var export = path.Length > 0 ? path[1..] : "";
        if (Decode(export, out var name) is { } bad)
            return $"the name of the export {bad}";
        if (Encoding.UTF8.GetByteCount(name) > NbdProtocol.MaxNameLength)
            return $"the name of the export has more than {NbdProtocol.MaxNameLength} bytes";
        return location.Scheme == RemoteScheme.NbdUnix
            ? ParseUnix(location, query, name, out address)
            : ParseTcp(location, query, name, out address);
    }

    /// <summary>The path and the query as they were written: a URI class would take "..", which a name may have, out of them.</summary>
    private static string? Split(string text, out string path, out string query)
    {
        var start = text.IndexOf("://", StringComparison.Ordinal) + 3;
        var rest = text[start..];
        var mark = rest.IndexOf('?', StringComparison.Ordinal);
        query = mark < 0 ? "" : rest[(mark + 1)..];
        var slash = (mark < 0 ? rest : rest[..mark]).IndexOf('/', StringComparison.Ordinal);
        path = slash < 0 ? "" : mark < 0 ? rest[slash..] : rest[slash..mark];
        return rest.Contains('#', StringComparison.Ordinal) ? "an export has no fragment (#)" : null;
    }

    private static string? ParseTcp(RemoteLocation location, string query, string export, out NbdAddress? address)
    {
        address = null;
        string? certificates = null;
        foreach (var pair in query.Split('&', StringSplitOptions.RemoveEmptyEntries))
        {
            if (location.Scheme != RemoteScheme.NbdTls || pair.Split('=', 2) is not ["tls-certificates", var value])
                return $"the parameter \"{NbdText.Printable(pair)}\" is not supported here";
            if (certificates is not null)
                return "it names two directories of certificates";
            if (Decode(value, out certificates) is { } bad)
                return $"the directory of certificates {bad}";
            if (!certificates.StartsWith('/'))
                return $"the directory of certificates, \"{NbdText.Printable(certificates)}\", does not begin with /";
        }

        var port = location.Uri.Port;
        if (port == 0)
            return "its port is 0";
        address = new NbdAddress(location.Uri.IdnHost.Trim('[', ']'), port < 0 ? NbdProtocol.DefaultPort : port, null, export,
            location.Scheme == RemoteScheme.NbdTls)
        {
            Certificates = certificates,
        };
        return null;
    }

    private static string? ParseUnix(RemoteLocation location, string query, string export, out NbdAddress? address)
    {
        address = null;
        if (location.Uri.Host.Length > 0)
            return $"a unix socket has no host \"{NbdText.Printable(location.Uri.Host)}\": three slashes follow nbd+unix:";
        string? socket = null;
        foreach (var pair in query.Split('&', StringSplitOptions.RemoveEmptyEntries))
        {
            if (pair.Split('=', 2) is not ["socket", var value])
                return $"the parameter \"{NbdText.Printable(pair)}\" is not supported here";
            if (socket is not null)
                return "it names two sockets";
            if (Decode(value, out socket) is { } bad)
                return $"the path of the socket {bad}";
        }

        if (socket is null)
            return "it names no socket: ?socket=PATH";
        if (!socket.StartsWith('/'))
            return $"the path of the socket, \"{NbdText.Printable(socket)}\", does not begin with /";
        if (Encoding.UTF8.GetByteCount(socket) > LongestSocketPath)
            return $"the path of the socket has more than {LongestSocketPath} bytes";
        address = new NbdAddress(null, 0, socket, export, IsTls: false);
        return null;
    }

    private static string? Decode(string text, out string decoded)
    {
        decoded = "";
        var bytes = new List<byte>(text.Length);
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] != '%')
            {
                var units = i + 1 < text.Length && char.IsSurrogatePair(text[i], text[i + 1]) ? 2 : 1;
                bytes.AddRange(Encoding.UTF8.GetBytes(text.Substring(i, units)));
                i += units - 1;
            }
            else if (i + 2 < text.Length && byte.TryParse(text.AsSpan(i + 1, 2), NumberStyles.AllowHexSpecifier,
                CultureInfo.InvariantCulture, out var octet) && octet != 0)
            {
                bytes.Add(octet);
                i += 2;
            }
            else
            {
                return "has a % that does not begin an octet";
            }
        }

        try
        {
            decoded = new UTF8Encoding(false, throwOnInvalidBytes: true).GetString([.. bytes]);
            return null;
        }
        catch (ArgumentException)
        {
            return "is not UTF-8";
        }
    }
}
