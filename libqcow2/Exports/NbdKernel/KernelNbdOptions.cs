using System.Collections.Generic;

namespace Qcow2Blk.Exports.NbdKernel;

/// <summary>What a kernel NBD device shall be.</summary>
internal sealed record KernelNbdOptions
{
    /// <summary>The absolute path of the image: the kernel keeps a name for the device that is made of it.</summary>
    public required string Image { get; init; }

    /// <summary>The wanted device, such as /dev/nbd0; null for the first free.</summary>
    public string? Device { get; init; }

    /// <summary>Take this device over from a server that is gone, instead of making one.</summary>
    public string? RecoverDevice { get; init; }

    /// <summary>Logical block size, 512 or 4096 bytes.</summary>
    public required int BlockSize { get; init; }

    /// <summary>Seconds after which the kernel sends a request again on another connection.</summary>
    public required int Timeout { get; init; }

    /// <summary>Seconds that the kernel waits for a server that is gone before requests fail.</summary>
    public required int DeadTimeout { get; init; }

    /// <summary>The descriptors of connections that the previous server left open (<see cref="KeptConnection"/>).</summary>
    public IReadOnlyList<int> Inherited { get; init; } = [];
}
