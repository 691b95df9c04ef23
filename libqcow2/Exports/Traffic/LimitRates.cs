namespace Qcow2Blk.Exports.Traffic;

/// <summary>How fast a device may be at most; null where there is no limit.</summary>
internal readonly record struct LimitRates
{
    /// <summary>How long a device that was idle may be faster, where nothing else is said.</summary>
    public const double DefaultBurstSeconds = 0.1;

    /// <summary>Requests a second that read or write.</summary>
    public long? Requests { get; init; }

    /// <summary>Requests a second that read.</summary>
    public long? Reads { get; init; }

    /// <summary>Requests a second that write, zero or discard.</summary>
    public long? Writes { get; init; }

    /// <summary>Bytes a second that are read or written.</summary>
    public long? Bytes { get; init; }

    /// <summary>Bytes a second that are read.</summary>
    public long? ReadBytes { get; init; }

    /// <summary>Bytes a second that are written.</summary>
    public long? WrittenBytes { get; init; }

    /// <summary>What is not used is saved up for so many seconds; null: <see cref="DefaultBurstSeconds"/>.</summary>
    public double? BurstSeconds { get; init; }

    /// <summary>Whether anything is limited.</summary>
    public bool Any => (Requests ?? Reads ?? Writes ?? Bytes ?? ReadBytes ?? WrittenBytes) is not null;
}
