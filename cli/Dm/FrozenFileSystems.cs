using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;

namespace Qcow2Blk.Cli.Dm;

/// <summary>The file systems on a device while it is suspended: frozen, so that all they hold is on it.</summary>
internal sealed class FrozenFileSystems : IDisposable
{
    private readonly List<string> _targets = [];

    /// <summary>Freezes those that are mounted in our mount namespace.</summary>
    internal static FrozenFileSystems On(DeviceRecord record)
    {
        var frozen = new FrozenFileSystems();
        if (KernelNode.TryParse(record.DevicePath) is not { } disk)
            return frozen;
        // Each once, however often it is mounted.
        foreach (var mount in MountedFileSystem.Read().Where(mount => mount.IsOn(disk)).DistinctBy(mount => mount.Source))
        {
            if (ChildProcess.Run("fsfreeze", "--freeze", mount.Target) == 0)
                frozen._targets.Add(mount.Target);
            else
                Output.Note($"{mount.Target} was not frozen: a snapshot holds it as after a power cut");
        }

        return frozen;
    }

    /// <summary>The device is still suspended: to unfreeze would be to wait for it.</summary>
    internal void Leave(string device)
    {
        foreach (var target in _targets)
            Output.Note($"{target} stays frozen: after \"qcow2blk resume {device}\", \"fsfreeze --unfreeze {target}\" ends that");
        _targets.Clear();
    }

    /// <summary>After the resume: what a file system writes as it goes on must reach the device.</summary>
    public void Dispose()
    {
        foreach (var target in _targets)
        {
            if (ChildProcess.Run("fsfreeze", "--unfreeze", target) != 0)
                Output.Note($"{target} is still frozen: \"fsfreeze --unfreeze {target}\" ends that");
        }
    }
}
