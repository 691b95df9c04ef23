using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Options;
using Xunit;

namespace Qcow2Blk.Tests.Devices;

/// <summary>What requests may need of the memory of the home loop has a limit in every server.</summary>
public sealed class ServerMemoryTests
{
    [Theory]
    [InlineData(false, 128 << 20, 8 << 20)]
    [InlineData(true, 8 << 20, 2 << 20)]
    public void Work_of_requests_is_bounded_as_the_export_needs_it(bool isBlockDevice, int work, int pipeline)
    {
        using var scene = new EngineScene();
        using var export = new FakeExport();
        var options = isBlockDevice ? scene.Options : scene.Options with { SocketPath = "/none" };
        using var device = scene.Open(export, options);

        Assert.Equal(isBlockDevice, scene.Served.IsBlockDevice);
        Assert.Equal(work, scene.Served.Budget!.Bytes);

        // An image in memory is copied at once, with less in progress.
        Assert.True(scene.Served.PipelineBytes <= pipeline);
        device.Detach(force: true, EngineScene.Patience);
    }
}
