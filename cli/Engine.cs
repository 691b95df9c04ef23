using Qcow2Blk.Devices;

namespace Qcow2Blk.Cli;

/// <summary>Which engine opens images.</summary>
internal static class Engine
{
    internal static IDeviceFactory Factory { get; } = new Missing();

    private sealed class Missing : IDeviceFactory
    {
        public IDevice Open(AttachOptions options, string name, ILog log)
            => throw new DeviceException(ExitStatus.Failed, $"cannot attach {options.Image}", "this build has no engine");
    }
}
