using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Server;

namespace Qcow2Blk.Cli;

/// <summary>Which engine opens images.</summary>
internal static class Engine
{
    internal static IDeviceFactory Factory { get; } =
        new EngineDeviceFactory(() => new DeviceStopper(ServerProgram.Self(JitHost.Arguments)).Stop);
}
