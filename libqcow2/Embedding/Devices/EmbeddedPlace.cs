using System;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Embedding.Devices;

/// <summary>What devices need of the process and the machine that they are attached in; tests have others.</summary>
internal sealed record EmbeddedPlace
{
    /// <summary>Where devices are found.</summary>
    public required DeviceRegistry Registry { get; init; }

    /// <summary>What opens images that this process serves.</summary>
    public required IDeviceFactory Factory { get; init; }

    /// <summary>Finds the program that serves block devices.</summary>
    public required Func<ServerProgram> Command { get; init; }

    /// <exception cref="Qcow2Blk.Devices.Outcomes.OutcomeException">the environment names a place that cannot be</exception>
    public static EmbeddedPlace This() => new()
    {
        Registry = new DeviceRegistry(RuntimeDirectory.Locate()),
        // Here are no block devices, and so none to be stopped.
        Factory = new EngineDeviceFactory(() => static (_, _) => -Errno.EOPNOTSUPP, isGuest: true),
        Command = InstalledCommand.Find,
    };
}
