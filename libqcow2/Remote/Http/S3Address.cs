using System;
using System.Globalization;
using System.Text;

namespace Qcow2Blk.Remote.Http;

/// <summary>An object in a bucket, and where it is: s3://bucket/key at AWS, or at another store that has the same interface.</summary>
/// <param name="Bucket">its bucket</param>
/// <param name="Key">its key, as it is: nothing in it is encoded</param>
/// <param name="VersionId">the version that is meant; null for the newest</param>
/// <param name="Endpoint">the store's; null for AWS</param>
internal sealed record S3Address(string Bucket, string Key, string? VersionId, HttpTarget? Endpoint)
{
    private const string Amazon = "amazonaws.com";
    private const int MaxBucketLength = 255;
    private const int MaxKeyBytes = 1024;

    /// <summary>Reads an s3:// URL and the endpoint that goes with it.</summary>
    /// <returns>null, or what is wrong</returns>
    public static string? Parse(string text, string? endpoint, out S3Address? address)
    {
        ArgumentNullException.ThrowIfNull(text);
        address = null;
        HttpTarget? store = null;
        if (endpoint is not null && ParseEndpoint(endpoint, out store) is { } fault)
            return fault;
        var rest = text["s3://".Length..];
        string? version = null;
        if (rest.IndexOf('?', StringComparison.Ordinal) is var question and >= 0)
        {
            const string name = "versionId=";
            var query = rest[(question + 1)..];
            if (!query.StartsWith(name, StringComparison.Ordinal) || query.Contains('&', StringComparison.Ordinal))
                return "an s3:// URL may have ?versionId=… behind it, and nothing else";
            version = Uri.UnescapeDataString(query[name.Length..]);
            rest = rest[..question];
        }

        var slash = rest.IndexOf('/', StringComparison.Ordinal);
        var key = slash < 0 ? "" : rest[(slash + 1)..];
        if (key.Length == 0)
            return "an s3:// URL names a bucket and a key: s3://bucket/key";
        if (Encoding.UTF8.GetByteCount(key) > MaxKeyBytes)
            return $"the key has more than {MaxKeyBytes} bytes";
        if (!IsBucket(rest[..slash]))
            return $"\"{rest[..slash]}\" is not the name of a bucket";
        address = new S3Address(rest[..slash], key, version, store);
        return null;
    }

    /// <summary>Where to ask for it.</summary>
    /// <param name="region">the bucket's</param>
    public HttpTarget TargetIn(string region)
    {
        var path = "/" + AwsSignature.Encode(Key, keepSlashes: true);
        var query = VersionId is null ? "" : "versionId=" + AwsSignature.Encode(VersionId, keepSlashes: false);
        var store = Endpoint;
        if (store is null)
        {
            store = new HttpTarget(true, $"s3.{region}.{DomainOf(region)}", 443, "/", "", IsLoopback: false);
        }

        // AWS wants the bucket in the name of the host; a certificate covers it there if there is no dot in it. Others have no such names.
        return IsAmazon(store) && IsLabel(Bucket)
            ? store with { Host = $"{Bucket}.{store.Host}", Path = path, Query = query }
            : store with { Path = $"{store.Path.TrimEnd('/')}/{Bucket}{path}", Query = query };
    }

    /// <summary>The domain that AWS has a region in; other domains are other companies', with accounts of their own.</summary>
    public static string DomainOf(string region) => region.StartsWith("cn-", StringComparison.Ordinal) ? Amazon + ".cn" : Amazon;

    private static string? ParseEndpoint(string text, out HttpTarget? endpoint)
    {
        if (HttpTarget.Parse(text, out endpoint) is { } fault)
            return $"the endpoint {fault}";
        return endpoint!.Query.Length > 0 || text.Contains('#', StringComparison.Ordinal) ? "the endpoint has a query" : null;
    }

    private static bool IsAmazon(HttpTarget store) =>
        store.Host.EndsWith("." + Amazon, StringComparison.Ordinal) || store.Host.EndsWith("." + Amazon + ".cn", StringComparison.Ordinal);

    private static bool IsBucket(string name)
    {
        foreach (var symbol in name)
        {
            if (!char.IsAsciiLetterOrDigit(symbol) && symbol is not ('-' or '.' or '_'))
                return false;
        }

        return name.Length is > 0 and <= MaxBucketLength && name is not ("." or "..");
    }

    /// <summary>Whether a name is one label of a host name.</summary>
    private static bool IsLabel(string name)
    {
        foreach (var symbol in name)
        {
            if (!char.IsAsciiLetterLower(symbol) && !char.IsAsciiDigit(symbol) && symbol != '-')
                return false;
        }

        return name.Length is >= 3 and <= 63 && name[0] != '-' && name[^1] != '-';
    }

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"s3://{Bucket}/{Key}");
}
