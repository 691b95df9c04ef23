namespace Qcow2Blk.Exports.NbdSocket;

/// <summary>Where NBD clients find the disk: a unix socket, a TCP port, or a socket that somebody else listens on.</summary>
internal sealed record NbdSocketOptions
{
    /// <summary>The absolute path of a unix socket; null for TCP.</summary>
    public string? UnixPath { get; init; }

    /// <summary>A name or address to listen on.</summary>
    public string? Host { get; init; }

    /// <summary>0 lets the kernel choose.</summary>
    public int Port { get; init; } = NbdUri.DefaultPort;

    /// <summary>A listening socket that was handed over; the other members mean nothing then.</summary>
    public int? Descriptor { get; init; }
}
