using System;
using System.Globalization;

namespace Qcow2Blk.Remote.Http;

/// <summary>A URL that a command has signed.</summary>
internal static class SignedUrl
{
    /// <summary>Reads what a command printed.</summary>
    /// <returns>null, or what is wrong, without showing it</returns>
    public static string? Parse(string text, out Credentials credentials)
    {
        ArgumentNullException.ThrowIfNull(text);
        credentials = Credentials.None;
        if (HttpTarget.Parse(text.Trim(), out var target) is { } fault)
            return $"printed something that {fault}";
        credentials = new Credentials { SignedUrl = target, Expiration = ExpirationOf(target!.Query) };
        return null;
    }

    /// <summary>When a URL signed as AWS does ends; null if it does not say.</summary>
    internal static DateTimeOffset? ExpirationOf(string query)
    {
        DateTimeOffset? signed = null;
        long? seconds = null;
        foreach (var pair in query.Split('&'))
        {
            if (pair.Split('=', 2) is not [var name, var value])
                continue;
            if (name.Equals("X-Amz-Date", StringComparison.OrdinalIgnoreCase) && DateTimeOffset.TryParseExact(value,
                "yyyyMMdd'T'HHmmss'Z'", CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var date))
            {
                signed = date;
            }
            else if (name.Equals("X-Amz-Expires", StringComparison.OrdinalIgnoreCase)
                && long.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number <= 366 * 86400)
            {
                seconds = number;
            }
        }

        return signed is { } from && seconds is { } lifetime ? from.AddSeconds(lifetime) : null;
    }
}
