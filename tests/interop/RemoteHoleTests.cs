using System;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Text.Json;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Sparse bases: what is fetched of them is their data, and all of them is in the cache after that.</summary>
public sealed class RemoteHoleTests : IDisposable
{
    private const int Chunk = 262144;
    private const long Size = 256 << 20, DataBytes = 4 << 20;

    private readonly Folder _folder = new();
    private Process? _store;

    public void Dispose()
    {
        _store?.Kill();
        _store?.WaitForExit();
        _store?.Dispose();
        _folder.Dispose();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Raw_base_over_nbd_sends_its_data_only(bool isNbdkit)
    {
        var path = SparseFile("base.raw");
        var url = Serve(path, isNbdkit);
        var server = Attach("base.raw", "raw", "--base", url, "--unverified");

        var copy = server.Copy("copy");

        Assert.Equal(Folder.Hash(path), Folder.Hash(copy));
        var status = BaseOf(server);
        Assert.Equal(DataBytes, status.GetProperty("fetched-bytes").GetInt64());
        Deadline.Until(() => BaseOf(server).GetProperty("cached-bytes").GetInt64() == Size, "zeroes are in the cache, too");
        Assert.Equal("local", BaseOf(server).GetProperty("state").GetString());
        server.Detach();
    }

    [Fact]
    public void Base_on_a_unix_socket_is_told_by_its_socket()
    {
        var path = SparseFile("base.raw");
        var root = _folder.Qcow2Blk("manifest", path).Passed().Output.Split(' ', '\n')[0];
        var url = Serve(path, isNbdkit: true);
        var output = _folder.Qcow2Blk("cache", "prefetch", url, "--sha256", root, "--manifest", path + ".qcm", "--cache-dir",
            _folder.File("cache")).Passed().Output;
        Assert.StartsWith($"{url}: ", output, StringComparison.Ordinal);
    }

    /// <summary>The tables name all clusters of the disk; where the file has holes, the server of the file knows more.</summary>
    [Fact]
    public void Preallocated_qcow2_base_over_nbd_sends_tables_and_data_only()
    {
        Run.QemuImg("create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", _folder.File("base.qcow2"), "256M");
        Run.QemuIoAs("qcow2", _folder.File("base.qcow2"), "write -P 7 100M 4M");
        var url = Serve(_folder.File("base.qcow2"), isNbdkit: true);
        var server = Attach("base.qcow2", "qcow2", "--base", url, "--unverified");

        var copy = server.Copy("copy");

        Assert.Equal(Folder.Hash(_folder.Raw(_folder.File("base.qcow2"), "expected")), Folder.Hash(copy));
        Assert.InRange(BaseOf(server).GetProperty("fetched-bytes").GetInt64(), DataBytes, DataBytes + (4 * Chunk));
        server.Detach();
    }

    [Fact]
    public void Raw_base_with_a_manifest_over_http_sends_its_data_only()
    {
        using var web = Web();
        var path = SparseFile("www/base.raw");
        var root = _folder.Qcow2Blk("manifest", path).Passed().Output.Split(' ', '\n')[0];
        var server = Attach("base.raw", "raw", "--base", web.Url("base.raw"), "--sha256", root);

        Assert.Equal(Folder.Hash(path), Folder.Hash(server.Copy("copy")));
        Assert.Equal(DataBytes, BaseOf(server).GetProperty("fetched-bytes").GetInt64());
        server.Detach();
    }

    [Fact]
    public void Sparse_qcow2_base_over_http_sends_no_more_than_its_clusters()
    {
        using var web = Web();
        Run.QemuImg("create", "-q", "-f", "qcow2", _folder.File("www/base.qcow2"), "1G");
        Run.QemuIoAs("qcow2", _folder.File("www/base.qcow2"), "write -P 7 100M 2M", "write -P 8 900M 2M", "write -z 300M 100M");
        var server = Attach("base.qcow2", "qcow2", "--base", web.Url("base.qcow2"));

        Run.QemuIoAs("raw", server.Uri, "read -P 7 100M 2M", "read -P 8 900M 2M");
        var copy = server.Copy("copy");

        var fileBytes = new FileInfo(_folder.File("www/base.qcow2")).Length;
        Assert.Equal(Folder.Hash(_folder.Raw(_folder.File("www/base.qcow2"), "expected")), Folder.Hash(copy));
        Assert.InRange(BaseOf(server).GetProperty("fetched-bytes").GetInt64(), DataBytes, fileBytes);
        Assert.InRange(fileBytes, DataBytes, 2 * DataBytes);
        server.Detach();
    }

    /// <summary>What was discarded leaves a hole in the file that no table refers to, in the way of reading ahead.</summary>
    [Fact]
    public void Hole_of_a_qcow2_file_is_not_read_ahead()
    {
        using var web = Web();
        var path = _folder.File("www/base.qcow2");
        Run.QemuImg("create", "-q", "-f", "qcow2", path, "1G");
        Run.QemuIoAs("qcow2", path, "write -P 7 0 8M", "write -P 8 8M 64M", "write -P 9 500M 8M");
        Run.Program("qemu-io", "-d", "unmap", "-f", "qcow2", "-c", "discard 8M 64M", path).Passed();
        var server = Attach("base.qcow2", "qcow2", "--base", web.Url("base.qcow2"));

        Run.QemuIoAs("raw", server.Uri, [.. Enumerable.Range(0, 32).Select(i => $"read -P 7 {i * 256}k 256k")]);

        // Chunks of the data, and of the header and the tables.
        Assert.InRange(BaseOf(server).GetProperty("fetched-bytes").GetInt64(), 8 << 20, (8 << 20) + (5 * Chunk));
        server.Detach();
    }

    private static JsonElement BaseOf(Server server) => server.Status().GetProperty("bases")[0];

    private NginxServer Web()
    {
        Assert.SkipWhen(NginxServer.Program is null, "nginx is not installed");
        _folder.Sub("www");
        return new NginxServer(_folder.File("www"));
    }

    /// <summary>Two pieces of data, each of whole chunks.</summary>
    private string SparseFile(string name)
    {
        var bytes = new byte[DataBytes / 2];
        new Random(1).NextBytes(bytes);
        using var file = File.Create(_folder.File(name));
        foreach (var offset in (long[])[64 << 20, 200 << 20])
        {
            file.Position = offset;
            file.Write(bytes);
        }

        file.SetLength(Size);
        return _folder.File(name);
    }

    private string Serve(string path, bool isNbdkit)
    {
        var socket = _folder.File("store");
        _store = Process.Start(isNbdkit
            ? new ProcessStartInfo("nbdkit", ["--foreground", "--readonly", "--unix", socket, "file", path])
            : new ProcessStartInfo("qemu-nbd", ["--read-only", "--persistent", "--shared=8", "--format=raw", $"--socket={socket}", path]));
        Deadline.Until(() => File.Exists(socket), "the store listens");
        return $"nbd+unix:///?socket={socket}";
    }

    private Server Attach(string below, string format, params string[] options)
    {
        Run.QemuImg("create", "-q", "-u", "-f", "qcow2", "-b", "away." + below, "-F", format, _folder.File("overlay.qcow2"),
            below.EndsWith(".raw", StringComparison.Ordinal) || _store is not null ? "256M" : "1G");
        return Server.Attach(_folder, _folder.File("overlay.qcow2"), [.. options, "--cache-dir", _folder.File("cache")]);
    }
}
