using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;

namespace Qcow2Blk.Cli.Dm;

/// <summary><c>qcow2-dm remove FILE</c>.</summary>
internal static class DeviceRemoval
{
    internal static int Run(string file)
    {
        var registry = Targets.Registry();
        if (TopImage.Find(registry, file) is not { } entry)
        {
            DmCommand.Complain($"Can't find device with [{file}] top image.");
            return DmCommand.Failed;
        }

        Output.Line($"Removing device [{entry.Record.Name}].");
        var result = Detach(registry, entry);
        if (!result.Succeeded)
        {
            Output.Error(result.What ?? $"cannot remove {entry.Record.Name}", result.Why ?? "unknown",
                result.Kind == OutcomeKind.Busy ? $"stop using it; \"qcow2blk detach --lazy {entry.Record.Name}\" waits for that"
                    : result.Hint);
            return DmCommand.Failed;
        }

        var image = RealPath.Of(FilePath.Absolute(file));
        Output.Line($"Checking [{image}].");
        // For people: the device is gone whatever it finds, so it is not the outcome.
        _ = ChildProcess.Run("qemu-img", "check", "-f", "qcow2", image);
        return 0;
    }

    private static Outcome Detach(DeviceRegistry registry, DeviceEntry entry) => DetachCommand.Run(registry, entry,
        new ControlRequest(ControlVerb.Detach, ControlRequest.DefaultTimeout, Force: false, AllowShrink: false));
}
