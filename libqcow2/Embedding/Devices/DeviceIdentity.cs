using System;
using Qcow2Blk.Devices.Registry;

namespace Qcow2Blk.Embedding.Devices;

/// <summary>One attached device among all that had its name, whatever process serves it.</summary>
/// <param name="Registry">where it is found</param>
/// <param name="Name">its name</param>
/// <param name="Started">when it was attached: recoveries and upgrades do not change that</param>
internal sealed record DeviceIdentity(DeviceRegistry Registry, string Name, DateTimeOffset Started)
{
    public static DeviceIdentity Of(DeviceRegistry registry, DeviceRecord record) => new(registry, record.Name, record.Started);

    /// <returns>null once it was detached, also if another device has its name now</returns>
    public DeviceEntry? Find() => Registry.Find(Name) is { } entry && entry.Record.Started == Started ? entry : null;

    /// <summary>Whether its server is dead, and another one may follow: the kernel holds its requests until then.</summary>
    public bool WaitsForServer(DeviceEntry entry) => Registry.IsLost(entry);
}
