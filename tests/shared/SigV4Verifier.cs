using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Security.Cryptography;
using System.Text;

namespace Qcow2Blk.Tests.Shared;

/// <summary>
/// Checks the signature of a request as S3 does (Signature Version 4, in the Authorization header), written from AWS's description and
/// with .NET's own cryptography: nothing is shared with what signs.
/// </summary>
internal sealed class SigV4Verifier(string keyId, string secret, string region, string? token = null)
{
    /// <summary>How far clocks may be apart.</summary>
    private static readonly TimeSpan s_skew = TimeSpan.FromMinutes(15);

    /// <summary>Checks a request.</summary>
    /// <param name="method">GET, …</param>
    /// <param name="target">path and query, as they were sent</param>
    /// <param name="headers">all headers</param>
    /// <param name="now">the time of the store</param>
    /// <returns>null, or the name of the error that S3 answers with, and why</returns>
    public string? Refuse(string method, string target, IReadOnlyList<(string Name, string Value)> headers, DateTimeOffset now)
    {
        string? Find(string name) => headers.Where(each => each.Name.Equals(name, StringComparison.OrdinalIgnoreCase))
            .Select(each => each.Value).FirstOrDefault();
        const string algorithm = "AWS4-HMAC-SHA256 ";
        if (Find("Authorization") is not { } authorization || !authorization.StartsWith(algorithm, StringComparison.Ordinal))
            return "AccessDenied: no signature";
        var parts = authorization[algorithm.Length..].Split(',').Select(part => part.Trim().Split('=', 2))
            .ToDictionary(part => part[0], part => part[1]);
        var scope = parts["Credential"].Split('/');
        if (scope is not [var id, var day, var where, "s3", "aws4_request"])
            return "AuthorizationHeaderMalformed: scope";
        if (id != keyId)
            return "InvalidAccessKeyId: " + id;
        if (where != region)
            return "AuthorizationHeaderMalformed: region " + where;
        if (Find("x-amz-security-token") != token)
            return "InvalidToken: another session token";
        if (Find("x-amz-date") is not { } stamp || !stamp.StartsWith(day, StringComparison.Ordinal))
            return "AccessDenied: no x-amz-date, or of another day";
        var time = DateTimeOffset.ParseExact(stamp, "yyyyMMdd'T'HHmmss'Z'", CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal);
        if ((time - now).Duration() > s_skew)
            return "RequestTimeTooSkewed: " + stamp;
        if (Find("x-amz-content-sha256") is not { } payload)
            return "InvalidRequest: missing required header for this request: x-amz-content-sha256";
        var names = parts["SignedHeaders"].Split(';');
        if (!names.Contains("host") || headers.Any(each => each.Name.StartsWith("x-amz-", StringComparison.OrdinalIgnoreCase)
            && !names.Contains(each.Name.ToLowerInvariant())))
        {
            return "AccessDenied: there were headers present in the request which were not signed";
        }

        var lines = string.Concat(names.Select(name => $"{name}:{Find(name)?.Trim()}\n"));
        var canonical = $"{method}\n{Path(target)}\n{Query(target)}\n{lines}\n{parts["SignedHeaders"]}\n{payload}";
        var text = $"AWS4-HMAC-SHA256\n{stamp}\n{string.Join('/', scope.Skip(1))}\n{Hex(SHA256.HashData(Bytes(canonical)))}";
        var key = Hmac(Hmac(Hmac(Hmac(Bytes("AWS4" + secret), day), where), "s3"), "aws4_request");
        return Hex(Hmac(key, text)) == parts["Signature"] ? null : "SignatureDoesNotMatch: " + canonical.Replace('\n', '|');
    }

    /// <summary>S3 decodes what it got once, and encodes it again by its own rules.</summary>
    private static string Path(string target) =>
        string.Join('/', target.Split('?')[0].Split('/').Select(segment => Encode(Uri.UnescapeDataString(segment))));

    private static string Query(string target) => target.Split('?', 2) is [_, var query]
        ? string.Join('&', query.Split('&').Select(pair => pair.Split('=', 2))
            .Select(pair => (Encode(Uri.UnescapeDataString(pair[0])), pair.Length > 1 ? Encode(Uri.UnescapeDataString(pair[1])) : ""))
            .OrderBy(pair => pair.Item1, StringComparer.Ordinal).Select(pair => $"{pair.Item1}={pair.Item2}"))
        : "";

    private static string Encode(string text) => string.Concat(Bytes(text).Select(each =>
        char.IsAsciiLetterOrDigit((char)each) || "-._~".Contains((char)each) ? ((char)each).ToString() : $"%{each:X2}"));

    private static byte[] Bytes(string text) => Encoding.UTF8.GetBytes(text);

    private static byte[] Hmac(byte[] key, string text) => HMACSHA256.HashData(key, Bytes(text));

    private static string Hex(byte[] bytes) => Convert.ToHexStringLower(bytes);
}
