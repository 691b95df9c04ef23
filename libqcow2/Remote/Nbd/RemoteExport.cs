using Qcow2Blk.Protocol;

namespace Qcow2Blk.Remote.Nbd;

/// <summary>What a server said of an export in the handshake.</summary>
internal sealed record RemoteExport
{
    public required long Size { get; init; }

    public required TransmissionFlags Flags { get; init; }

    public required ReplyMode Mode { get; init; }

    /// <summary>Offsets and lengths of requests are multiples of it; a power of two.</summary>
    public uint MinBlock { get; init; } = 1;

    /// <summary>Bytes that one request may ask for.</summary>
    public uint MaxBlock { get; init; } = NbdProtocol.MaxRequestPayload;

    /// <summary>What block status of "base:allocation" is called here; null if the server does not tell of holes.</summary>
    public uint? AllocationContext { get; init; }

    /// <summary>The name that the server itself gives it; null if it does not say.</summary>
    public string? CanonicalName { get; init; }

    public string? Description { get; init; }

    public bool AllowsSeveralConnections => (Flags & TransmissionFlags.CanMultiConnection) != 0;

    /// <summary>How another one differs from this, as far as that can be seen; null if it does not.</summary>
    public string? DifferenceTo(RemoteExport other) =>
        Size != other.Size ? $"its size was {Size} bytes and is {other.Size}"
        : CanonicalName != other.CanonicalName ? $"its name was {Shown(CanonicalName)} and is {Shown(other.CanonicalName)}"
        : Description != other.Description ? $"its description was {Shown(Description)} and is {Shown(other.Description)}"
        : null;

    private static string Shown(string? text) => text is null ? "not given" : $"\"{NbdText.Printable(text)}\"";
}
