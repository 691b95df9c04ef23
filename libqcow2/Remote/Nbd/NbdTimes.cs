namespace Qcow2Blk.Remote.Nbd;

/// <summary>How long a server may take, in milliseconds: <see cref="SourceTimeouts"/>, but in tests.</summary>
internal sealed record NbdTimes
{
    public static NbdTimes Usual { get; } = new();

    /// <summary>To answer a name server's question, and from the first packet to the server's greeting.</summary>
    public int Connect { get; init; } = (int)SourceTimeouts.Connect.TotalMilliseconds;

    /// <summary>For the whole handshake.</summary>
    public int Handshake { get; init; } = (int)SourceTimeouts.FirstByte.TotalMilliseconds;

    /// <summary>Without a byte, or with fewer than <see cref="SourceTimeouts.SlowestRate"/>, while a request waits.</summary>
    public int Progress { get; init; } = (int)SourceTimeouts.Progress.TotalMilliseconds;

    /// <summary>Between two looks at the clock.</summary>
    public int Look { get; init; } = 500;
}
