using System;

namespace Qcow2Blk.Exports.Ublk;

/// <summary>Stops a ublk device, or goes on waiting for that.</summary>
/// <param name="id">its number</param>
/// <param name="timeout">how long to wait</param>
/// <returns>0 or a negative errno; -ETIMEDOUT if it takes longer (it goes on)</returns>
internal delegate int StopUblkDevice(int id, TimeSpan timeout);

/// <summary>What a ublk device shall be.</summary>
internal sealed record UblkExportOptions
{
    /// <summary>The wanted number of the device; null for the first free.</summary>
    public int? Id { get; init; }

    /// <summary>Take over this device, whose server is gone, instead of making one.</summary>
    public bool Recover { get; init; }

    /// <summary>Whether requests wait for another server when this one dies; else they fail.</summary>
    public bool IsRecoverable { get; init; } = true;

    /// <summary>Stops a device that is not recoverable, from another process; null: from this one.</summary>
    public StopUblkDevice? StopElsewhere { get; init; }

    /// <summary>Tags of each queue.</summary>
    public int Depth { get; init; } = 128;

    /// <summary>Logical block size, 512 or 4096 bytes.</summary>
    public int BlockSize { get; init; } = 512;

    public UblkMode Mode { get; init; } = UblkMode.Auto;

    public bool ReadOnly { get; init; }

    /// <summary>Whether discards free anything.</summary>
    public bool Discards { get; init; } = true;

    /// <summary>Bytes of the unit in which the image allocates; the granularity of discards.</summary>
    public int ClusterSize { get; init; } = 65536;

    /// <summary>What the image file asks of memory that it is read into directly (O_DIRECT).</summary>
    public int MemoryAlignment { get; init; } = 512;

    /// <summary>Whether the image lies in memory (tmpfs), where nothing is won by passing pages on.</summary>
    public bool IsMemory { get; init; }

    /// <summary>Requests end without I/O.</summary>
    public bool NullIo { get; init; }
}
