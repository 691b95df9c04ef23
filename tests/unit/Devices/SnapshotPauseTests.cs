using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Devices;

/// <summary>How long the users of 100 GiB, all of it allocated in clusters of 64 KiB, wait for a snapshot.</summary>
public sealed class SnapshotPauseTests(ITestOutputHelper output) : IDisposable
{
    // Far above what is measured, so that a busy machine does not fail: a pause that grew by an order of magnitude does.
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(3);

    private readonly FakeExport _export = new();

    public void Dispose() => _export.Dispose();

    [Trait("Speed", "slow")]
    [Fact]
    public void Snapshot_of_a_large_image_is_one_short_pause()
    {
        using var directory = new Support.TempDirectory();
        var image = directory.File("large.qcow2");
        Qemu.Img("create", "-f", "qcow2", "-o", "preallocation=metadata", image, "100G");
        using var scene = new EngineScene(image);
        using var device = scene.Open(_export);
        List<double> pauses = [];
        for (var round = 0; round < 5; round++)
        {
            Timed(device, "create", "s");
            if (round > 0)
                pauses.Add(_export.LastPause.TotalMilliseconds);
            output.WriteLine($"create: {_export.LastPause.TotalMilliseconds:0.0} ms");
            Timed(device, "delete", "s");
            output.WriteLine($"delete: {_export.LastPause.TotalMilliseconds:0.0} ms");
        }

        device.Detach(force: true, EngineScene.Patience);
        Assert.InRange(pauses.Min(), 0, s_limit.TotalMilliseconds);
    }

    private static void Timed(EngineDevice device, string action, string name)
    {
        var edit = new ImageEdit($"snapshot-{action}", new Dictionary<string, string> { ["name"] = name });
        var outcome = device.EditAsync(edit, EngineScene.Patience, CancellationToken.None).GetAwaiter().GetResult();
        Assert.True(outcome.Succeeded, outcome.Why);
    }
}
