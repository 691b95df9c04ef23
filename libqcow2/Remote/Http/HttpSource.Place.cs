using System;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Remote.Http;

/// <summary>Where the object is.</summary>
internal sealed partial class HttpSource
{
    private const string DefaultRegion = "us-east-1";

    /// <summary>The object in a bucket; null for one that has a plain URL.</summary>
    private readonly S3Address? _s3;

    /// <summary>The plain URL; null for an object in a bucket.</summary>
    private readonly HttpTarget? _plain;

    private string _region;

    /// <summary>What is added to our clock to have the store's.</summary>
    private TimeSpan _clockOffset;

    private HttpTarget HomeNow() => _keyring.Current.SignedUrl ?? _s3?.TargetIn(_region) ?? _plain!;

    /// <summary>Whether nobody on the way can change what comes, or it is verified, or nobody minds.</summary>
    private static bool MayUse(HttpTarget target, RemoteSettings settings) =>
        target.IsTls || target.IsLoopback || settings.AllowInsecure || settings.Root is not null;

    /// <summary>Whether nobody on the way can read what is sent, or nobody minds. A hash of what comes is no help with that.</summary>
    private static bool MayShow(HttpTarget target, RemoteSettings settings) =>
        target.IsTls || target.IsLoopback || settings.AllowInsecure;

    /// <summary>What keeps a request from being sent to the object's own place; null if nothing does.</summary>
    private string? RefusalOf(HttpTarget home)
    {
        if (MayShow(home, _settings))
            return null;
        var credentials = _keyring.Current;
        if (credentials.SignedUrl is not null)
            return "the signed URL would be sent for everybody on the way to read";
        return (credentials.Authorization ?? credentials.Keys?.SessionToken) is null ? null
            : "credentials would be sent to an http endpoint for everybody on the way to read";
    }

    private static string? FindPlace(RemoteLocation location, RemoteSettings settings, out HttpTarget? plain, out S3Address? s3)
    {
        plain = null;
        s3 = null;
        if (location.Scheme == RemoteScheme.S3)
        {
            if (S3Address.Parse(location.Text, settings.S3Endpoint, out s3) is { } wrong)
                return wrong;
            if (!IsRegion(FirstRegion(settings)))
                return $"\"{FirstRegion(settings)}\" is not a region";
            plain = s3!.TargetIn(FirstRegion(settings));
        }
        else if (HttpTarget.Parse(location.Text, out plain) is { } fault)
        {
            return $"the URL {fault}";
        }

        return MayUse(plain!, settings) ? null : "http to another machine is neither encrypted nor verified";
    }

    private static string FirstRegion(RemoteSettings settings) =>
        settings.S3Region ?? Keyring.Variable("AWS_REGION") ?? Keyring.Variable("AWS_DEFAULT_REGION") ?? DefaultRegion;

    /// <summary>A region becomes a part of a host's name.</summary>
    private static bool IsRegion(string region)
    {
        foreach (var symbol in region)
        {
            if (!char.IsAsciiLetterOrDigit(symbol) && symbol != '-')
                return false;
        }

        return region.Length is > 0 and <= 63;
    }

    /// <summary>Has what signatures are computed with, for a store that may want them.</summary>
    private static string? LoadCrypto(S3Address? s3, Keyring keyring) =>
        s3 is not null && (keyring.CanRefresh || keyring.Current.Keys is not null) && LibCrypto.Load() is { } failure
            ? $"{failure}, which signatures for S3 need: install libssl3 (Debian, Ubuntu) or openssl-libs (Fedora)" : null;
}
