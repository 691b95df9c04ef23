using System;
using System.Globalization;
using System.Text;

namespace Qcow2Blk.Remote.Http;

/// <summary>The header of an answer, as far as it matters here, taken line by line. Everything in it is hostile.</summary>
internal sealed class HttpReply
{
    /// <summary>Bytes of a header: servers and proxies send a few hundred.</summary>
    public const int MaxHeaderBytes = 64 << 10;

    /// <summary>Of an entity tag, a version, a region.</summary>
    private const int MaxValueBytes = 512;

    private static readonly TimeSpan s_longestWait = TimeSpan.FromSeconds(30);

    private int _bytes;

    public int Status { get; private set; }

    /// <summary>Whether all of it is there.</summary>
    public bool IsComplete { get; private set; }

    /// <summary>What cannot be right in it; null if nothing is found.</summary>
    public string? Fault { get; private set; }

    public bool HasRange { get; private set; }

    /// <summary>null if there is none, or it cannot be read.</summary>
    public ContentRange? Range { get; private set; }

    public long? Length { get; private set; }

    /// <summary>A strong entity tag, with its quotation marks; null if there is none.</summary>
    public string? Tag { get; private set; }

    /// <summary>The version of an object in a bucket that keeps versions; null if there is none.</summary>
    public string? VersionId { get; private set; }

    public bool IsEncoded { get; private set; }

    /// <summary>How long to leave the server alone, not more than half a minute.</summary>
    public TimeSpan? RetryAfter { get; private set; }

    public DateTimeOffset? Date { get; private set; }

    /// <summary>The region that a bucket is in, when a store says that it is another one.</summary>
    public string? BucketRegion { get; private set; }

    public void Clear()
    {
        _bytes = 0;
        StartOver();
    }

    /// <summary>Takes a line with its end; the status line first, an empty one last.</summary>
    /// <returns>false when it is too much</returns>
    public bool Take(ReadOnlySpan<byte> line)
    {
        // Trailers come after the body, and are of no interest.
        _bytes += Math.Min(line.Length, MaxHeaderBytes + 1);
        if (_bytes > MaxHeaderBytes)
        {
            Fault = $"a header of more than {MaxHeaderBytes} bytes";
            return false;
        }

        if (IsComplete)
            return true;
        line = line.TrimEnd("\r\n"u8);
        if (line.StartsWith("HTTP/"u8))
        {
            StartOver();
            var blank = line.IndexOf((byte)' ');
            if (blank > 0 && line.Length >= blank + 4 && ContentRange.TryNumber(line.Slice(blank + 1, 3), out var status))
                Status = (int)status;
        }
        else if (line.IsEmpty)
        {
            // An interim answer (100, 103) is followed by another one.
            IsComplete = Status is not (>= 100 and < 200);
        }
        else if (line.IndexOf((byte)':') is var colon and > 0)
        {
            TakeField(line[..colon], line[(colon + 1)..].Trim(" \t"u8));
        }

        return true;
    }

    private void StartOver()
    {
        Status = 0;
        IsComplete = HasRange = IsEncoded = false;
        Fault = Tag = VersionId = BucketRegion = null;
        Range = null;
        Length = null;
        RetryAfter = null;
        Date = null;
    }

    private void TakeField(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value)
    {
        if (Is(name, "content-range"u8))
            TakeRange(value);
        else if (Is(name, "content-length"u8))
            TakeLength(value);
        else if (Is(name, "etag"u8))
            TakeTag(value);
        else if (Is(name, "content-encoding"u8))
            IsEncoded |= !value.IsEmpty && !Is(value, "identity"u8);
        else if (Is(name, "x-amz-version-id"u8))
            VersionId = Is(value, "null"u8) ? null : Word(value);
        else if (Is(name, "x-amz-bucket-region"u8))
            BucketRegion = Word(value);
        else if (Is(name, "retry-after"u8))
            TakeRetryAfter(value);
        else if (Is(name, "date"u8))
            Date = ParseDate(value);
    }

    private void TakeRange(ReadOnlySpan<byte> value)
    {
        var range = ContentRange.Parse(value);
        if (HasRange && range != Range)
            Fault = "two different Content-Range headers";
        HasRange = true;
        Range = range;
    }

    private void TakeLength(ReadOnlySpan<byte> value)
    {
        if (!ContentRange.TryNumber(value, out var length) || (Length is { } before && before != length))
            Fault = "a Content-Length that cannot be right";
        else
            Length = length;
    }

    private void TakeTag(ReadOnlySpan<byte> value)
    {
        // A weak one (W/"…") says that the meaning is the same, not that the bytes are.
        var isStrong = value.Length is > 2 and <= MaxValueBytes && value[0] == '"' && value[^1] == '"'
            && value[1..^1].IndexOfAnyExceptInRange((byte)'!', (byte)'~') < 0 && !value[1..^1].Contains((byte)'"');
        var tag = isStrong ? Encoding.ASCII.GetString(value) : null;
        if (Tag is not null && tag != Tag)
            Fault = "two different entity tags";
        Tag = tag;
    }

    private void TakeRetryAfter(ReadOnlySpan<byte> value)
    {
        TimeSpan? wait = null;
        if (ContentRange.TryNumber(value, out var seconds))
            wait = TimeSpan.FromSeconds(Math.Min(seconds, (long)s_longestWait.TotalSeconds));
        else if (ParseDate(value) is { } date)
            wait = date - DateTimeOffset.UtcNow;
        if (wait is { } time)
            RetryAfter = time < TimeSpan.Zero ? TimeSpan.Zero : time > s_longestWait ? s_longestWait : time;
    }

    private static DateTimeOffset? ParseDate(ReadOnlySpan<byte> value) =>
        value.Length <= MaxValueBytes && DateTimeOffset.TryParseExact(Encoding.ASCII.GetString(value), "r", CultureInfo.InvariantCulture,
            DateTimeStyles.AssumeUniversal, out var date) ? date : null;

    /// <summary>A short value of visible characters; null if it is anything else.</summary>
    private static string? Word(ReadOnlySpan<byte> value) =>
        value.Length is > 0 and <= MaxValueBytes && value.IndexOfAnyExceptInRange((byte)'!', (byte)'~') < 0
            ? Encoding.ASCII.GetString(value) : null;

    private static bool Is(ReadOnlySpan<byte> text, ReadOnlySpan<byte> lower) => Ascii.EqualsIgnoreCase(text, lower);
}
