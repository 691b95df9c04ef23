using System;
using System.IO;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Takeover;

namespace Qcow2Blk.Tests.Devices;

/// <summary>A runtime directory of one test's own, with the state files of servers that died, and a kernel that has the disks that the test
/// says.</summary>
internal sealed class StateFiles : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("q2b-state-").FullName;

    public StateFiles()
    {
        Registry = new DeviceRegistry(RuntimeDirectory.At(Path.Combine(_folder, "run"))) { NodeExists = node => NodeExists(node) };
        Registry.Directory.Ensure();
    }

    public DeviceRegistry Registry { get; }

    /// <summary>Whether the kernel has a disk; all of them, unless a test says otherwise.</summary>
    public Predicate<KernelNode> NodeExists { get; set; } = _ => true;

    /// <summary>A device whose image is there.</summary>
    public DeviceRecord Device(string name)
    {
        var image = Path.Combine(_folder, $"{name}.qcow2");
        if (!File.Exists(image))
            File.WriteAllText(image, "");
        return new DeviceRecord
        {
            Name = name,
            Image = image,
            DevicePath = "/dev/ublkb5",
            Pid = 4711,
            Started = DateTimeOffset.UnixEpoch,
            ImageIdentity = Recovery.ImageIdentity(image),
            Options = new AttachOptions { Image = image },
        };
    }

    /// <summary>The state file that a killed server leaves.</summary>
    public DeviceEntry Dead(DeviceRecord record)
    {
        File.WriteAllBytes(Registry.Directory.StateFileOf(record.Name), record.ToJson());
        return Registry.Find(record.Name)!;
    }

    /// <summary>A state file whose lock is held.</summary>
    public DeviceClaim Alive(DeviceRecord record) =>
        DeviceClaim.TryTake(Registry.Directory, record, _ => false) ?? throw new InvalidOperationException($"{record.Name} is taken");

    public void Dispose() => Directory.Delete(_folder, recursive: true);
}
