using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Remote.Http;

/// <summary>
/// Signs requests as AWS's Signature Version 4 wants it for S3. libcurl can do so, too, but which headers it signs differs between the
/// versions that distributions have: the older ones leave out those that S3 insists on, so this is ours.
/// </summary>
internal static class AwsSignature
{
    private const string Algorithm = "AWS4-HMAC-SHA256";
    private const string EmptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    private const int HashBytes = 32;
    private const int BlockBytes = 64;

    /// <summary>The headers of a GET without a body: as many as have to be sent, the signature last.</summary>
    /// <param name="target">what is asked for</param>
    /// <param name="keys">whose signature</param>
    /// <param name="region">the bucket's</param>
    /// <param name="now">the time</param>
    /// <param name="others">headers that are signed, too: lower-case names</param>
    public static List<(string Name, string Value)> Sign(
        HttpTarget target, AwsKeys keys, string region, DateTimeOffset now, params ReadOnlySpan<(string Name, string Value)> others)
    {
        ArgumentNullException.ThrowIfNull(target);
        ArgumentNullException.ThrowIfNull(keys);
        var time = now.UtcDateTime.ToString("yyyyMMdd'T'HHmmss'Z'", CultureInfo.InvariantCulture);
        var sent = new List<(string Name, string Value)> { ("x-amz-content-sha256", EmptyHash), ("x-amz-date", time) };
        if (keys.SessionToken is { } token)
            sent.Add(("x-amz-security-token", token));
        var signed = new List<(string Name, string Value)>(sent) { ("host", target.HostHeader) };
        foreach (var other in others)
            signed.Add(other);
        signed.Sort(static (one, other) => string.CompareOrdinal(one.Name, other.Name));
        var names = string.Join(';', signed.Select(header => header.Name));
        var lines = string.Concat(signed.Select(header => $"{header.Name}:{header.Value}\n"));
        var request = $"GET\n{target.Path}\n{CanonicalQuery(target.Query)}\n{lines}\n{names}\n{EmptyHash}";
        var scope = $"{time[..8]}/{region}/s3/aws4_request";
        var text = $"{Algorithm}\n{time}\n{scope}\n{Hex(Hash(Encoding.UTF8.GetBytes(request)))}";
        var signature = Hex(Hmac(SigningKey(keys.SecretKey, time[..8], region), text));
        sent.Add(("Authorization", $"{Algorithm} Credential={keys.KeyId}/{scope},SignedHeaders={names},Signature={signature}"));
        return sent;
    }

    /// <summary>Encodes a text as AWS does: everything but letters, digits and -._~, with capital digits.</summary>
    public static string Encode(string text, bool keepSlashes)
    {
        var result = new StringBuilder();
        foreach (var value in Encoding.UTF8.GetBytes(text))
        {
            var symbol = (char)value;
            if (char.IsAsciiLetterOrDigit(symbol) || symbol is '-' or '.' or '_' or '~' || (symbol == '/' && keepSlashes))
                result.Append(symbol);
            else
                result.Append(CultureInfo.InvariantCulture, $"%{value:X2}");
        }

        return result.ToString();
    }

    private static string CanonicalQuery(string query)
    {
        if (query.Length == 0)
            return "";
        var pairs = query.Split('&', StringSplitOptions.RemoveEmptyEntries).Select(pair =>
        {
            var (name, value) = pair.Split('=', 2) is [var left, var right] ? (left, right) : (pair, "");
            return (Name: Encode(Uri.UnescapeDataString(name), false), Value: Encode(Uri.UnescapeDataString(value), false));
        });
        return string.Join('&', pairs.OrderBy(pair => pair.Name, StringComparer.Ordinal).ThenBy(pair => pair.Value, StringComparer.Ordinal)
            .Select(pair => $"{pair.Name}={pair.Value}"));
    }

    private static byte[] SigningKey(string secret, string day, string region) =>
        Hmac(Hmac(Hmac(Hmac(Encoding.UTF8.GetBytes("AWS4" + secret), day), region), "s3"), "aws4_request");

    private static byte[] Hmac(byte[] key, string text)
    {
        var data = Encoding.UTF8.GetBytes(text);
        if (key.Length > BlockBytes)
            key = Hash(key);
        var inner = new byte[BlockBytes + data.Length];
        var outer = new byte[BlockBytes + HashBytes];
        key.CopyTo(inner, 0);
        key.CopyTo(outer, 0);
        for (var i = 0; i < BlockBytes; i++)
        {
            inner[i] ^= 0x36;
            outer[i] ^= 0x5c;
        }

        data.CopyTo(inner, BlockBytes);
        Hash(inner).CopyTo(outer, BlockBytes);
        return Hash(outer);
    }

    private static byte[] Hash(byte[] data)
    {
        var result = new byte[HashBytes];
        if (!LibCrypto.Hash(LibCrypto.Digest("sha256\0"u8), data, result))
            throw new InvalidOperationException("libcrypto cannot compute SHA-256");
        return result;
    }

    private static string Hex(byte[] bytes) => Convert.ToHexStringLower(bytes);
}
