using System;

namespace Qcow2Blk.Devices.Control;

/// <summary>What a control socket takes from its clients, so that none costs the others anything (docs/control-protocol.md).</summary>
internal sealed record ControlLimits
{
    /// <summary>Connections at once, besides those that watch: people and monitoring, not clients of the disk.</summary>
    public int Connections { get; init; } = ControlServer.MaxConnections;

    /// <summary>Connections that watch the device: they stay, and must not keep commands out.</summary>
    public int Watchers { get; init; } = ControlServer.MaxWatchers;

    /// <summary>How long a line may take to come whole; a connection that says nothing for so long gives its place back.</summary>
    public TimeSpan Idle { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>How long a client may take to read a reply.</summary>
    public TimeSpan Reply { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>What the kernel keeps of replies that a client has not read; more makes the server wait for it.</summary>
    public int ReplyBytes { get; init; } = 64 << 10;

    /// <summary>How long the end waits for answers on their way, and then again for connections to end.</summary>
    public TimeSpan End { get; init; } = TimeSpan.FromSeconds(2);
}
