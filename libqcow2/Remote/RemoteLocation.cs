using System;

namespace Qcow2Blk.Remote;

/// <summary>Kinds of stores.</summary>
internal enum RemoteScheme
{
    Http,
    Https,
    S3,
    Nbd,
    NbdTls,
    NbdUnix,
}

/// <summary>A URL that a base may have. Whether it may be used is not its matter.</summary>
internal sealed class RemoteLocation
{
    private RemoteLocation(RemoteScheme scheme, Uri uri, string text)
    {
        Scheme = scheme;
        Uri = uri;
        Text = text;
    }

    public RemoteScheme Scheme { get; }

    public Uri Uri { get; }

    /// <summary>As it was given: its query may hold a signature, so it is for requests, not for messages.</summary>
    public string Text { get; }

    /// <summary>
    /// For messages, and as a name of the base: without the query, which may hold a signature, but for NBD, where it is the address.
    /// </summary>
    public string Name => Scheme == RemoteScheme.NbdUnix ? Text : Text.Split('?', '#')[0];

    public bool IsHttp => Scheme is RemoteScheme.Http or RemoteScheme.Https or RemoteScheme.S3;

    /// <summary>Whether nobody on the way can read or change what is sent: encrypted, or it does not leave this machine.</summary>
    public bool IsSecure => Scheme is RemoteScheme.Https or RemoteScheme.S3 or RemoteScheme.NbdTls or RemoteScheme.NbdUnix
        || Uri.IsLoopback;

    /// <summary>Whether what is for the server of another location is for this one's, too: all of s3:// is in one store.</summary>
    public bool HasServerOf(RemoteLocation other)
    {
        ArgumentNullException.ThrowIfNull(other);
        return Scheme == other.Scheme && (Scheme == RemoteScheme.S3
            || (Uri.IdnHost.Equals(other.Uri.IdnHost, StringComparison.OrdinalIgnoreCase) && Uri.Port == other.Uri.Port));
    }

    /// <summary>Whether a name is a URL of a kind that is known. A file can be called like that only with "./" before it.</summary>
    public static bool IsUrl(string name) => SchemeOf(name) is not null;

    /// <summary>Reads a URL.</summary>
    /// <returns>null, or what is wrong with it</returns>
    public static string? Parse(string text, out RemoteLocation? location)
    {
        location = null;
        if (SchemeOf(text) is not { } scheme)
            return "it must begin with https://, http://, s3://, nbd://, nbds:// or nbd+unix://";
        foreach (var symbol in text)
        {
            if (symbol is <= ' ' or (>= '\x7f' and <= '\x9f'))
                return "it has a blank or a control character in it";
        }

        if (!Uri.TryCreate(text, UriKind.Absolute, out var uri))
            return "it is not a URL";
        if (uri.UserInfo.Length > 0)
            return "credentials do not belong into a URL, where everybody can see them: use --credentials or --credential-command";
        if (uri.Fragment.Length > 0)
            return "a base has no fragment (#)";
        if (scheme != RemoteScheme.NbdUnix && uri.Host.Length == 0)
            return "it names no host";
        location = new RemoteLocation(scheme, uri, text);
        return null;
    }

    private static RemoteScheme? SchemeOf(string name) => name.Split("://", 2) is [var scheme, _] ? scheme.ToLowerInvariant() switch
    {
        "http" => RemoteScheme.Http,
        "https" => RemoteScheme.Https,
        "s3" => RemoteScheme.S3,
        "nbd" => RemoteScheme.Nbd,
        "nbds" => RemoteScheme.NbdTls,
        "nbd+unix" => RemoteScheme.NbdUnix,
        _ => null,
    } : null;
}
