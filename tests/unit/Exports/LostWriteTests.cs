using System.IO;
using System.Linq;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Image.Raw;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Exports;

/// <summary>A sync that fails may have lost the writes of any client: each of them has to hear of it at its next flush.</summary>
public sealed class LostWriteTests
{
    private const uint InputOutput = 5;

    [Theory]
    [InlineData("qcow2", -Errno.EIO)]
    [InlineData("qcow2", -Errno.ENOSPC)]
    [InlineData("raw", -Errno.EIO)]
    [InlineData("raw", -Errno.ENOSPC)]
    public void Every_client_is_told_also_when_the_disk_works_again(string format, int error)
    {
        using var image = new Image(format);
        using var scene = new ServedScene(image.OpenAsync, parkOnNoSpace: true);
        var clients = Enumerable.Range(0, 3).Select(_ => scene.Connect()).ToArray();
        foreach (var client in clients)
            Assert.Equal(0u, client.Do(NbdClient.Write, 0, 4096, payload: new byte[4096]));

        image.FailSyncs(scene, 1, error);
        Assert.Equal(InputOutput, clients[0].Do(NbdClient.Flush, 0, 0));

        // The next sync would succeed, as the kernel tells of lost pages once.
        Assert.Equal(InputOutput, clients[1].Do(NbdClient.Flush, 0, 0));
        Assert.Equal(InputOutput, clients[2].Do(NbdClient.Write, 0, 4096, NbdClient.ForceUnitAccess, new byte[4096]));
        Assert.Equal(InputOutput, clients[0].Do(NbdClient.Flush, 0, 0));
        Assert.Equal(InputOutput, scene.Connect().Do(NbdClient.Flush, 0, 0));
    }

    [Fact]
    public void Every_client_of_then_is_told_once_when_the_image_was_opened_again_and_none_that_came_later()
    {
        using var image = new Image("qcow2");
        using var scene = new ServedScene(image.OpenAsync, loops: 2);
        var clients = Enumerable.Range(0, 4).Select(_ => scene.Connect()).ToArray();
        foreach (var client in clients)
            Assert.Equal(0u, client.Do(NbdClient.Write, 0, 65536, payload: new byte[65536]));
        image.FailSyncs(scene, 1, -Errno.EIO);
        Assert.Equal(InputOutput, clients[0].Do(NbdClient.Flush, 0, 0));

        scene.Replace(image.OpenAsync, between: scene.Served.NoteLoss);
        var later = scene.Connect();
        var extended = scene.Connect(extended: true);

        Assert.Equal(0u, later.Do(NbdClient.Flush, 0, 0));
        Assert.Equal(0u, extended.Do(NbdClient.Flush, 0, 0));
        Assert.Equal(InputOutput, clients[0].Do(NbdClient.Flush, 0, 0));
        Assert.Equal(InputOutput, clients[1].Do(NbdClient.Write, 0, 4096, NbdClient.ForceUnitAccess, new byte[4096]));
        Assert.Equal(InputOutput, clients[2].Do(NbdClient.Trim, 0, 65536, NbdClient.ForceUnitAccess));
        Assert.Equal(0u, clients[3].Do(NbdClient.Write, 0, 4096, payload: new byte[4096]));
        Assert.Equal(InputOutput, clients[3].Do(NbdClient.Flush, 0, 0));
        foreach (var client in clients.Append(later))
            Assert.Equal(0u, client.Do(NbdClient.Flush, 0, 0));
    }

    [Fact]
    public void Client_is_told_of_what_was_lost_twice_by_one_flush()
    {
        using var image = new Image("raw");
        using var scene = new ServedScene(image.OpenAsync, parkOnNoSpace: true);
        var client = scene.Connect();
        Assert.Equal(0u, client.Do(NbdClient.Flush, 0, 0));
        scene.Served.NoteLoss();
        scene.Served.NoteLoss();

        Assert.Equal(InputOutput, client.Do(NbdClient.Flush, 0, 0));

        Assert.Equal(0u, client.Do(NbdClient.Flush, 0, 0));
    }

    /// <summary>An image on the host's disk, whose syncs can be made to fail.</summary>
    private sealed class Image : System.IDisposable
    {
        private readonly TempDirectory _directory = new();
        private readonly string _path;
        private readonly string _format;
        private FailingStorage? _storage;

        public Image(string format)
        {
            _format = format;
            _path = Path.Combine(_directory.Path, "disk");
            if (format == "raw")
                File.WriteAllBytes(_path, new byte[1 << 20]);
            else
                QemuImg.Create(_path, "1M");
        }

        public async LoopTask<IDisk> OpenAsync()
        {
            Assert.Equal(0, FileStorage.Open(_path, readOnly: false, direct: false, out var file));
            _storage = new FailingStorage(file!);
            return _format == "raw"
                ? new RawDisk(_storage, readOnly: false)
                : await Qcow2Image.OpenAsync(_storage, new ImageOptions(), null);
        }

        public void FailSyncs(ServedScene scene, int count, int error) => scene.OnHome(() =>
        {
            _storage!.Failing = (count, error);
            return new LoopTask<int>(0);
        });

        public void Dispose() => _directory.Dispose();
    }
}
