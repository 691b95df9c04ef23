using System;
using System.Collections.Generic;
using System.Globalization;
using System.Text.Json;

namespace Qcow2Blk.Remote.Http;

/// <summary>Reads credentials as files and commands hold them: pure. What is wrong is told without showing any of it.</summary>
internal static class CredentialText
{
    private const string Header = "Authorization:";
    private const int MaxValueLength = 16 << 10;

    /// <summary>Reads a file: "Authorization: …", or profiles as the AWS tools keep them.</summary>
    /// <returns>null, or what is wrong</returns>
    public static string? ParseFile(string text, string profile, out Credentials credentials)
    {
        ArgumentNullException.ThrowIfNull(text);
        return text.TrimStart().StartsWith(Header, StringComparison.OrdinalIgnoreCase)
            ? ParseHeader(text, out credentials) : ParseProfile(text, profile, out credentials);
    }

    /// <summary>Reads what a command prints: "Authorization: …", or an object as for credential_process of the AWS tools.</summary>
    /// <returns>null, or what is wrong</returns>
    public static string? ParseOutput(string text, out Credentials credentials)
    {
        ArgumentNullException.ThrowIfNull(text);
        return text.TrimStart().StartsWith(Header, StringComparison.OrdinalIgnoreCase)
            ? ParseHeader(text, out credentials) : ParseJson(text, out credentials);
    }

    /// <summary>Whether a value can be sent in a header.</summary>
    public static bool IsValue(string? text) =>
        text is { Length: > 0 and <= MaxValueLength } && !text.AsSpan().ContainsAnyExceptInRange(' ', '~');

    private static string? ParseHeader(string text, out Credentials credentials)
    {
        credentials = Credentials.None;
        var value = text.Trim()[Header.Length..].Trim();
        if (!IsValue(value))
            return "has something else than one line \"Authorization: …\"";
        credentials = new Credentials { Authorization = value };
        return null;
    }

    private static string? ParseProfile(string text, string profile, out Credentials credentials)
    {
        credentials = Credentials.None;
        var values = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        var found = false;
        var inside = false;
        foreach (var raw in text.Split('\n'))
        {
            var line = raw.Trim();
            if (line.Length == 0 || line[0] is '#' or ';')
                continue;
            if (line[0] == '[')
            {
                var name = line.Trim('[', ']').Trim();
                inside = name == profile || name == "profile " + profile;
                found |= inside;
            }
            else if (inside && line.Split('=', 2) is [var key, var value])
            {
                values[key.Trim()] = value.Trim();
            }
        }

        if (!found)
            return $"has no profile \"{profile}\" and no line \"Authorization: …\"";
        return Make(values.GetValueOrDefault("aws_access_key_id"), values.GetValueOrDefault("aws_secret_access_key"),
            values.GetValueOrDefault("aws_session_token"), null, $"in profile \"{profile}\"", out credentials);
    }

    private static string? ParseJson(string text, out Credentials credentials)
    {
        credentials = Credentials.None;
        const string fault = "is neither \"Authorization: …\" nor a JSON object with AccessKeyId and SecretAccessKey";
        try
        {
            using var document = JsonDocument.Parse(text);
            var root = document.RootElement;
            if (root.ValueKind != JsonValueKind.Object)
                return fault;
            if (root.TryGetProperty("Version", out var version) && !(version.TryGetInt32(out var number) && number == 1))
                return "is of another Version than 1";
            DateTimeOffset? expiration = null;
            if (Member(root, "Expiration") is { } date)
            {
                if (!DateTimeOffset.TryParse(date, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var parsed))
                    return "has an Expiration that is not a date";
                expiration = parsed;
            }

            return Make(Member(root, "AccessKeyId"), Member(root, "SecretAccessKey"), Member(root, "SessionToken"), expiration,
                "in the object", out credentials);
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException)
        {
            return fault; // The message would quote what it read.
        }
    }

    private static string? Member(JsonElement root, string name) =>
        root.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;

    private static string? Make(
        string? id, string? secret, string? token, DateTimeOffset? expiration, string where, out Credentials credentials)
    {
        credentials = Credentials.None;
        if (!IsValue(id))
            return $"has no usable access key id {where}";
        if (!IsValue(secret))
            return $"has no usable secret access key {where}";
        if (token is { Length: > 0 } && !IsValue(token))
            return $"has a session token that cannot be sent {where}";
        var keys = new AwsKeys(id!, secret!, token is { Length: > 0 } ? token : null);
        credentials = new Credentials { Keys = keys, Expiration = expiration };
        return null;
    }
}
