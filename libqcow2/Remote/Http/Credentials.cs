using System;

namespace Qcow2Blk.Remote.Http;

/// <summary>What a server is shown: one of these, or nothing.</summary>
internal sealed record Credentials
{
    public static Credentials None { get; } = new();

    /// <summary>Keys that requests are signed with.</summary>
    public AwsKeys? Keys { get; init; }

    /// <summary>The value of the Authorization header.</summary>
    public string? Authorization { get; init; }

    /// <summary>A URL of the object that is signed itself.</summary>
    public HttpTarget? SignedUrl { get; init; }

    /// <summary>When they end; null for never, or nobody knows.</summary>
    public DateTimeOffset? Expiration { get; init; }

    public bool IsEmpty => Keys is null && Authorization is null && SignedUrl is null;

    /// <summary>Nothing of them is for messages.</summary>
    public override string ToString() => nameof(Credentials);
}
