using System;
using System.IO;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Bases;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Devices;

/// <summary>What a device records of its base, over the servers that it has.</summary>
public sealed class RecordedTraceTests : IDisposable
{
    private const int Chunk = RemoteSettings.MinChunkBytes;

    private readonly TempDirectory _directory = new();
    private readonly byte[] _bytes = new byte[16 * Chunk];
    private readonly HostileServer _store;

    public RecordedTraceTests()
    {
        _bytes.AsSpan().Fill(7);
        _store = new HostileServer(request => HostileReply.Honest(request, _bytes));
    }

    public void Dispose()
    {
        _store.Dispose();
        _directory.Dispose();
    }

    [Fact]
    public void Record_goes_on_in_the_server_that_takes_a_device_over_and_begins_anew_at_an_attach()
    {
        var (image, trace) = (_directory.File("overlay.qcow2"), _directory.File("trace"));
        Qemu.Img("create", "-q", "-u", "-f", "qcow2", "-b", "away.raw", "-F", "raw", image, "1M");
        using var scene = new EngineScene(image);
        var options = scene.Options with
        {
            Base = _store.Url(),
            Remote = new RemoteSettings { RecordTrace = trace, CacheDirectory = "none", ChunkBytes = Chunk },
        };

        Read(scene, options, 5);
        Read(scene, options with { RecoverDevice = "/dev/nbd1048575" }, 9);
        Assert.Equal([5 * Chunk, 9 * Chunk], Recorded(trace));
        Read(scene, options, 3);
        Assert.Equal([3 * Chunk], Recorded(trace));
    }

    private static void Read(EngineScene scene, AttachOptions options, int chunk)
    {
        using var device = scene.Open(new FakeExport(), options);
        Assert.True(scene.Holds(chunk * Chunk, 4096, 7));
        device.Detach(force: true, EngineScene.Patience);
    }

    private static System.Collections.Generic.IReadOnlyList<long> Recorded(string path)
    {
        Assert.Null(BootTrace.Parse(File.ReadAllBytes(path), out var trace));
        return trace!.Offsets;
    }
}
