using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Remote;

namespace Qcow2Blk.Devices.Options;

/// <summary>The URL of a base.</summary>
internal class UrlKind : TextKind
{
    public override ValueRefusal? Refuse(string said, string? value) => RemoteLocation.Parse(value!, out _) is { } wrong
        ? new ValueRefusal($"{said} {value!.Split('?')[0]} cannot be used", wrong) : null;
}

/// <summary>The URL of a service: where buckets are.</summary>
internal sealed class EndpointKind : UrlKind
{
    public override ValueRefusal? Refuse(string said, string? value) => base.Refuse(said, value)
        ?? (RemoteLocation.Parse(value!, out var location) is null && location!.Scheme is RemoteScheme.Http or RemoteScheme.Https ? null
            : new ValueRefusal($"{said} {value} cannot be used", "it must begin with https:// or http://"));
}

/// <summary>URLs of the same base.</summary>
internal sealed class UrlsKind : TextsKind
{
    public override IReadOnlyList<string> Parse(string said, string text) => RemoteLocation.Parse(text, out _) is { } wrong
        ? throw new OutcomeException(OutcomeKind.Invalid, $"{said} {text.Split('?')[0]} cannot be used", wrong) : [text];

    public override ValueRefusal? Refuse(string said, IReadOnlyList<string> value) =>
        value.Select(url => RemoteLocation.Parse(url, out _)).FirstOrDefault(wrong => wrong is not null) is { } why
            ? new ValueRefusal($"{said} cannot be used", why) : null;
}

/// <summary>A file, or the URL of an object.</summary>
internal sealed class FileOrUrlKind : FileKind
{
    public override string? Parse(string said, string text) => RemoteLocation.IsUrl(text) ? text : base.Parse(said, text);

    public override ValueRefusal? Refuse(string said, string? value) =>
        RemoteLocation.IsUrl(value!) ? new UrlKind().Refuse(said, value) : base.Refuse(said, value);
}

/// <summary>A directory, or "none".</summary>
internal sealed class DirectoryOrNoneKind : FileKind
{
    public const string None = "none";

    public override string? Parse(string said, string text) => text == None ? None : base.Parse(said, text);
}

/// <summary>A SHA-256 hash.</summary>
internal sealed class HashKind : TextKind
{
    private const int Digits = 64;

    public override string? Parse(string said, string text) => text.ToLowerInvariant();

    public override ValueRefusal? Refuse(string said, string? value) => value!.Length == Digits
        && value.All(char.IsAsciiHexDigitLower) ? null
        : new ValueRefusal($"{said} {value} is not a SHA-256 hash", $"it has {Digits} hexadecimal digits: \"qcow2blk manifest\" prints it");
}

/// <summary>A power of two.</summary>
internal sealed class ChunkKind() : SizeKind(RemoteSettings.MinChunkBytes, RemoteSettings.MaxChunkBytes, "64K to 4M")
{
    public override ValueRefusal? Refuse(string said, long? value) => base.Refuse(said, value)
        ?? (long.IsPow2(value!.Value) ? null : new ValueRefusal($"{said} {value} is not a power of two", "such as 256K"));
}

/// <summary>When to fetch the rest of a base: "off", or "after=600s".</summary>
internal sealed class FillKind : TextKind
{
    public const string Off = "off";

    private const string After = "after=";
    private const int MostSeconds = 7 * 86400;

    public static TimeSpan? Read(string? text) => Seconds(text) is { } seconds ? TimeSpan.FromSeconds(seconds) : null;

    public static string Print(TimeSpan? after) =>
        after is { } time ? string.Create(CultureInfo.InvariantCulture, $"{After}{time.TotalSeconds:0}s") : Off;

    public override ValueRefusal? Refuse(string said, string? value) => value == Off || Seconds(value) is not null ? null
        : new ValueRefusal($"{said} {value} is not known", $"it must be {Off} or {After}SECONDSs, such as {After}600s, at most a week");

    private static int? Seconds(string? text) => text is not null && text.StartsWith(After, StringComparison.Ordinal)
        && int.TryParse(text.AsSpan(After.Length).TrimEnd('s'), NumberStyles.None, CultureInfo.InvariantCulture, out var seconds)
        && seconds <= MostSeconds ? seconds : null;
}
