using System.IO;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Takeover;

/// <summary>What a killed server of a block device leaves: 64 KiB at 0 hold 5, which is answered and not committed.</summary>
internal static class KilledDevice
{
    public static DeviceEntry Leave(StateFiles files, DeviceRecord device)
    {
        var log = files.Registry.Directory.LogOf(device.Name);
        using var scene = new EngineScene(device.Image) { RecoveryLog = log };
        Qemu.Img("create", "-q", "-f", "qcow2", scene.Image, "16M");
        using var export = new FakeExport();
        using var server = scene.Open(export);
        Assert.Equal(0, scene.Write(0, 65536, 5));
        var image = File.ReadAllBytes(scene.Image);
        var changes = File.ReadAllBytes(log);
        Assert.True(server.Detach(force: false, EngineScene.Patience).Succeeded);
        Put(scene.Image, image);
        Put(log, changes);
        return files.Dead(device with { Options = scene.Options });
    }

    /// <summary>Into the same file: a log knows its image by that.</summary>
    private static void Put(string path, byte[] content)
    {
        using var file = File.OpenWrite(path);
        file.SetLength(0);
        file.Write(content);
    }
}
