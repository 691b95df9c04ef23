namespace Qcow2Blk.Exports.Nbd;

/// <summary>
/// What the clients of a server may hold, and for how long. Seconds are looks of the loop at its clients, one a second: a
/// server that was itself stopped, or got no processor, does not take that for their fault.
/// </summary>
internal sealed record ClientLimits
{
    public static readonly ClientLimits Default = new();

    /// <summary>
    /// Bytes of requests and replies that all clients together may hold beyond <see cref="MemoryShare.OwnBytes"/> each: four
    /// requests of the largest size, or sixteen clients with as much in progress as one may have.
    /// </summary>
    public long MemoryBytes { get; init; } = 128 << 20;

    /// <summary>A client that says nothing in its handshake is a port scanner; one that does needs some round trips.</summary>
    public int HandshakeSeconds { get; init; } = 10;

    /// <summary>Without a byte of a request that has begun. A lost packet is sent again within 13 s, five times in a row.</summary>
    public int ReceiveSeconds { get; init; } = 30;

    /// <summary>Without a byte of its replies read: a client may be busy with what it has read. As long as TCP waits for it.</summary>
    public int SendSeconds { get; init; } = 120;

    /// <summary>Either, while others wait for the memory that the client holds.</summary>
    public int PressedSeconds { get; init; } = 10;

    /// <summary>Milliseconds between two looks; negative: only when told to, for tests.</summary>
    public int LookMilliseconds { get; init; } = 1000;
}
