using Qcow2Blk.Format;

namespace Qcow2Blk.Devices.Options;

/// <summary>What offers the disk where no NBD address was given: a block device of the kernel.</summary>
public enum DeviceTransport
{
    /// <summary>ublk where the kernel has it, else NBD.</summary>
    Auto,

    /// <summary>/dev/ublkbN.</summary>
    Ublk,

    /// <summary>/dev/nbdN.</summary>
    Nbd,
}

internal static class DeviceTransports
{
    public static EnumWords<DeviceTransport> Words { get; } = new(
        (DeviceTransport.Auto, "auto"), (DeviceTransport.Ublk, "ublk"), (DeviceTransport.Nbd, "nbd"));
}
