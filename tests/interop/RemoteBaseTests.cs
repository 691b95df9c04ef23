using System;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Text.Json;
using System.Threading;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Bases that a web server has: an nginx of each test, the native binary, the clients of others.</summary>
public sealed partial class RemoteBaseTests : IDisposable
{
    private readonly Folder _folder = new();
    private readonly string _cache;
    private NginxServer _web;

    public RemoteBaseTests()
    {
        Assert.SkipWhen(NginxServer.Program is null, "nginx is not installed");
        _folder.Sub("www");
        _cache = _folder.File("cache");
        _web = new NginxServer(_folder.File("www"));
    }

    public void Dispose()
    {
        _folder.Dispose();
        _web?.Dispose();
    }

    [Theory]
    [InlineData(Content.Plain)]
    [InlineData(Content.Zlib)]
    [InlineData(Content.Zstd)]
    [InlineData(Content.OverQcow2)]
    [InlineData(Content.OverRaw)]
    [InlineData(Content.OverCompressed)]
    [InlineData(Content.ChainOfThree)]
    [InlineData(Content.LazyRefcounts)]
    [InlineData(Content.Preallocated)]
    public void Any_base_reads_as_qemu_reads_it_and_its_overlay_is_written(Content content)
    {
        const long size = (9 << 20) + 512;
        var shape = new ImageShape(_folder, "1.1", "64k", 16, size).Make(content);
        var expected = _folder.Raw(shape.Path, "expected");
        foreach (var (file, below) in shape.Below.Prepend(shape.Path).Zip(shape.Below.Append("")))
        {
            if (below.Length > 0)
                Run.QemuImg("rebase", "-u", "-b", Path.GetFileName(below), "-F", Path.GetExtension(below)[1..], file);
            Publish(file);
        }

        var url = _web.Url("disk.qcow2");
        _folder.Qcow2Blk("create", _folder.File("overlay.qcow2"), "--backing", url, "--backing-format", "qcow2").Passed();

        var server = Attach("overlay.qcow2", "--allow-remote-backing");
        Run.QemuIoAs("raw", server.Uri, "write -P 9 1000000 100000");
        var copy = server.Copy("copy");
        server.Detach();

        Run.QemuIoAs("raw", expected, "write -P 9 1000000 100000");
        Assert.Equal(Folder.Hash(expected), Folder.Hash(copy));
        _folder.Qcow2Blk("check", _folder.File("overlay.qcow2")).Passed();
    }

    [Fact]
    public void Raw_base_reads_as_it_is_and_only_what_is_read_is_fetched()
    {
        var path = Random("www/base.raw", 64 << 20);
        var server = Attach(Overlay("base.raw", "raw"), "--base", _web.Url("base.raw"));
        Run.QemuIoAs("raw", server.Uri, "read 40M 4k", "read 10M 64k");

        var status = BaseOf(server);
        Assert.InRange(status.GetProperty("fetched-bytes").GetInt64(), 2 * 262144, 3 * 262144);
        Assert.Equal(Folder.Hash(path), Folder.Hash(server.Copy("copy")));
        Deadline.Until(() => BaseOf(server).GetProperty("state").GetString() == "local", "all of it is in the cache");
        server.Detach();
    }

    [Fact]
    public void Top_and_metrics_tell_of_bases()
    {
        Random("www/base.raw", 4 << 20);
        var server = Attach(Overlay("base.raw", "raw"), "--base", _web.Url("base.raw"));
        Run.QemuIoAs("raw", server.Uri, "read 0 4k", "read 2M 4k");
        Deadline.Until(() => BaseOf(server).GetProperty("cached-bytes").GetInt64() == 512 << 10, "what was read is in the cache");

        var top = JsonDocument.Parse(_folder.Qcow2Blk("top", "--batch", "--json", "--count", "1", "--interval", "0.2").Passed().Output);
        var table = _folder.Qcow2Blk("top", "--batch", "--count", "1", "--interval", "0.2").Passed().Output;
        var metrics = _folder.Qcow2Blk("metrics").Passed().Output;

        Assert.Equal(12.5, top.RootElement.GetProperty("devices")[0].GetProperty("base-cached-percent").GetDouble());
        Assert.Equal(0, top.RootElement.GetProperty("devices")[0].GetProperty("fetched-bytes-per-second").GetDouble());
        Assert.Matches("CACHED +BHITS +FETCH99", table);
        Assert.Contains("  12%  ", table, StringComparison.Ordinal);
        Assert.Contains("qcow2blk_base_cached_bytes{name=\"overlay\",url=\"" + _web.Url("base.raw") + "\"} 524288\n", metrics,
            StringComparison.Ordinal);
        server.Detach();
    }

    [Fact]
    public void Cache_serves_what_it_has_while_the_source_is_down()
    {
        Random("www/base.raw", 8 << 20);
        var first = Attach(Overlay("base.raw", "raw"), "--base", _web.Url("base.raw"));
        Run.QemuIoAs("raw", first.Uri, "read 0 1M");
        first.Detach();
        var port = _web.Port;
        _web.Dispose();

        var server = Attach("overlay.qcow2", "--base", Url(port, "base.raw"), "--source-timeout", "20");
        Run.QemuIoAs("raw", server.Uri, "read 0 1M");
        using var waits = Run.Start(null, "qemu-io", "-r", "-f", "raw", "-c", "read 4M 64k", server.Uri);
        Deadline.Until(() => server.ReadState() == "waiting-for-source", "the device tells that it waits");
        Run.QemuIoAs("raw", server.Uri, "read 0 1M");
        Assert.False(waits.HasExited);

        _web = new NginxServer(_folder.File("www"), port: port);
        Assert.DoesNotContain("failed", waits.Wait().Passed().Output, StringComparison.Ordinal);
        Deadline.Until(() => server.ReadState() == "running", "the device tells that it runs again");
        server.Detach();
    }

    [Fact]
    public void Request_fails_after_the_source_timeout_and_a_detach_does_not_wait_for_it()
    {
        Random("www/base.raw", 8 << 20);
        var server = Attach(Overlay("base.raw", "raw"), "--base", _web.Url("base.raw"), "--source-timeout", "2");
        var patient = Attach(Overlay("base.raw", "raw", "patient.qcow2"), "--base", _web.Url("base.raw"), "--cache-dir", "none");
        _web.Stop();

        var read = Run.Program("qemu-io", "-r", "-f", "raw", "-c", "read 4M 64k", server.Uri);
        Assert.Contains("Input/output error", read.Output + read.Errors, StringComparison.Ordinal);
        server.Detach();
        using var waits = Run.Start(null, "qemu-io", "-r", "-f", "raw", "-c", "read 4M 64k", patient.Uri);
        Deadline.Until(() => patient.ReadState() == "waiting-for-source", "the device tells that it waits");
        patient.Detach();
        waits.Wait();
    }

    [Fact]
    public void Manifest_pins_the_base_and_a_mirror_gives_what_the_first_source_gives_wrongly()
    {
        var good = Random("www/base.raw", 8 << 20);
        var root = _folder.Qcow2Blk("manifest", good).Passed().Output.Split(' ', '\n')[0];
        var bad = File.ReadAllBytes(good);
        bad[5 << 20] ^= 1;
        File.WriteAllBytes(_folder.File("www/bad.raw"), bad);
        File.Copy(good + ".qcm", _folder.File("www/bad.raw.qcm"));

        var server = Attach(Overlay("base.raw", "raw"), "--base", _web.Url("bad.raw"), "--sha256", root, "--mirror", _web.Url("base.raw"));
        Assert.Equal(Folder.Hash(good), Folder.Hash(server.Copy("copy")));
        Assert.Equal(1, BaseOf(server).GetProperty("bad-chunks").GetInt32());
        server.Detach();

        var alone = Attach("overlay.qcow2", "--base", _web.Url("bad.raw"), "--sha256", root, "--cache-dir", "none");
        Run.QemuIoAs("raw", alone.Uri, "read 0 4M");
        var read = Run.Program("qemu-io", "-r", "-f", "raw", "-c", "read 5M 4k", alone.Uri);
        Assert.Contains("Input/output error", read.Output + read.Errors, StringComparison.Ordinal);
        alone.Detach();
        _folder.Qcow2Blk("attach", _folder.File("overlay.qcow2"), "--base", _web.Url("base.raw"), "--sha256", new string('0', 64),
            "--socket", _folder.File("s")).Refused(1, "root hash");
    }

    [Fact]
    public void Trace_of_one_start_is_fetched_ahead_at_the_next()
    {
        Random("www/base.raw", 16 << 20);
        var first = Attach(Overlay("base.raw", "raw"), "--base", _web.Url("base.raw"), "--record-trace", _folder.File("trace"));
        Run.QemuIoAs("raw", first.Uri, "read 12M 4k", "read 3M 4k");
        _folder.Qcow2Blk("suspend", "overlay").Passed();
        _folder.Qcow2Blk("resume", "overlay").Passed();
        Run.QemuIoAs("raw", first.Uri, "read 7M 4k");
        first.Detach();

        var second = Attach("overlay.qcow2", "--base", _web.Url("base.raw"), "--trace", _folder.File("trace"), "--cache-dir",
            _folder.File("other-cache"));
        Deadline.Until(() => BaseOf(second).GetProperty("cached-bytes").GetInt64() == 3 * 262144, "three chunks are there");
        Run.QemuIoAs("raw", second.Uri, "read 12M 4k", "read 3M 4k", "read 7M 4k");
        Assert.Equal(0, BaseOf(second).GetProperty("misses").GetInt64());
        second.Detach();
    }

    [Fact]
    public void Killed_server_leaves_a_cache_that_the_next_one_uses()
    {
        var path = Random("www/base.raw", 16 << 20);
        var server = Attach(Overlay("base.raw", "raw"), "--base", _web.Url("base.raw"));
        Run.QemuIoAs("raw", server.Uri, "read 0 2M");
        using (var copying = Run.Start(null, "nbdcopy", server.Uri, _folder.File("part")))
        {
            Thread.Sleep(30);
            server.Kill();
        }

        var next = Attach("overlay.qcow2", "--base", _web.Url("base.raw"));
        Assert.Equal(Folder.Hash(path), Folder.Hash(next.Copy("copy")));
        Assert.True(BaseOf(next).GetProperty("fetched-bytes").GetInt64() <= 14 << 20);
        next.Detach();
    }

    [Fact]
    public void Two_servers_of_a_base_fetch_each_chunk_once()
    {
        Random("www/base.raw", 16 << 20);
        var first = Attach(Overlay("base.raw", "raw"), "--base", _web.Url("base.raw"));
        var second = Attach(Overlay("base.raw", "raw", "second.qcow2"), "--base", _web.Url("base.raw"));
        using (var one = Run.Start(null, "nbdcopy", "--no-extents", first.Uri, _folder.File("one")))
        using (var two = Run.Start(null, "nbdcopy", "--no-extents", second.Uri, _folder.File("two")))
        {
            one.Wait().Passed();
            two.Wait().Passed();
        }

        Assert.Equal(Folder.Hash(_folder.File("one")), Folder.Hash(_folder.File("two")));
        Assert.Equal(64, BaseOf(first).GetProperty("fetches").GetInt64() + BaseOf(second).GetProperty("fetches").GetInt64());
        first.Detach();
        second.Detach();
    }

    [Fact]
    public void Filled_base_needs_its_source_no_more()
    {
        var path = Random("www/base.raw", 4 << 20);
        var server = Attach(Overlay("base.raw", "raw"), "--base", _web.Url("base.raw"), "--fill", "after=0s");
        Deadline.Until(() => BaseOf(server).GetProperty("state").GetString() == "local", "the base is local");
        _web.Stop();
        Assert.Equal(Folder.Hash(path), Folder.Hash(server.Copy("copy")));
        server.Detach();
    }

    [Fact]
    public void Base_of_an_nbd_server_needs_a_manifest_or_unverified()
    {
        var path = Random("www/base.raw", 4 << 20);
        var export = Server.Attach(_folder, path, "--format", "raw", "--read-only", "--name", "export");
        var url = export.Uri;
        _folder.Qcow2Blk("attach", Overlay("base.raw", "raw"), "--base", url, "--socket", _folder.File("s")).Refused(1, "--unverified");

        var trusting = Attach("overlay.qcow2", "--base", url, "--unverified");
        Assert.Equal(Folder.Hash(path), Folder.Hash(trusting.Copy("one")));
        trusting.Detach();

        var root = _folder.Qcow2Blk("manifest", path).Passed().Output.Split(' ', '\n')[0];
        var pinned = Attach("overlay.qcow2", "--base", url, "--sha256", root, "--manifest", path + ".qcm");
        Assert.Equal(Folder.Hash(path), Folder.Hash(pinned.Copy("two")));
        pinned.Detach();
        export.Detach();
    }

    [Fact]
    public void Attach_with_a_manifest_says_soon_that_the_source_is_away()
    {
        var path = Random("www/base.qcow2", 0);
        Run.QemuImg("create", "-q", "-f", "qcow2", path, "1M");
        var root = _folder.Qcow2Blk("manifest", path).Passed().Output.Split(' ', '\n')[0];
        _web.Stop();
        var began = System.Diagnostics.Stopwatch.StartNew();
        _folder.Qcow2Blk("attach", Overlay("base.qcow2", "qcow2"), "--base", _web.Url("base.qcow2"), "--sha256", root, "--manifest",
            path + ".qcm", "--cache-dir", "none", "--socket", _folder.File("s")).RefusedWith("Couldn't connect");
        Assert.True(began.Elapsed < TimeSpan.FromSeconds(60), $"it took {began.Elapsed}");
    }

    [Fact]
    public void Credentials_do_not_go_over_an_open_network()
    {
        File.WriteAllText(_folder.File("credentials"), "Authorization: Bearer s3cret\n");
        File.SetUnixFileMode(_folder.File("credentials"), UnixFileMode.UserRead | UnixFileMode.UserWrite);
        _folder.Qcow2Blk("attach", Overlay("base.raw", "raw"), "--base", "http://192.0.2.1/base.raw", "--sha256", new string('0', 64),
            "--credentials", _folder.File("credentials"), "--socket", _folder.File("s")).Refused(1, "everybody on the way", "--insecure");
    }

    [Fact]
    public void Suspend_and_resume_go_on_from_the_cache()
    {
        var path = Random("www/base.raw", 4 << 20);
        var server = Attach(Overlay("base.raw", "raw"), "--base", _web.Url("base.raw"));
        Assert.Equal(Folder.Hash(path), Folder.Hash(server.Copy("copy")));
        server.Suspend().Passed();
        _web.Stop();
        server.Resume().Passed();
        Assert.Equal(Folder.Hash(path), Folder.Hash(server.Copy("copy2")));
        server.Detach();
    }

    [Fact]
    public void Names_in_images_are_not_trusted()
    {
        Random("www/base.raw", 1 << 20);
        var overlay = _folder.File("overlay.qcow2");
        _folder.Qcow2Blk("create", overlay, "--backing", _web.Url("base.raw"), "--backing-format", "raw").Passed();
        _folder.Qcow2Blk("attach", overlay, "--socket", _folder.File("s")).Refused(1, "not trusted", "--base URL");
        Assert.Contains(_web.Requests, line => line.Contains("GET /base.raw", StringComparison.Ordinal));
        var requests = _web.Requests.Length;
        _folder.Qcow2Blk("attach", overlay, "--socket", _folder.File("s")).Refused(1, "not trusted");
        Assert.Equal(requests, _web.Requests.Length);

        // The overlay alone can be worked on.
        _folder.Qcow2Blk("snapshot", "create", overlay, "one").Passed();
        _folder.Qcow2Blk("resize", overlay, "2M").Passed();
    }

    [Fact]
    public void Base_in_a_store_cannot_name_files_of_this_machine()
    {
        var secret = Random("secret", 1 << 20);
        Run.QemuImg("create", "-q", "-u", "-f", "qcow2", "-b", secret, "-F", "raw", _folder.File("www/base.qcow2"), "1M");
        _folder.Qcow2Blk("create", _folder.File("overlay.qcow2"), "--backing", _web.Url("base.qcow2"), "--backing-format",
            "qcow2").Passed();
        _folder.Qcow2Blk("attach", _folder.File("overlay.qcow2"), "--allow-remote-backing", "--socket", _folder.File("s"))
            .Refused(1, "lies in a store", "not a name relative to it");
    }

    [Fact]
    public void Base_that_no_image_leads_to_is_refused()
    {
        Random("www/base.raw", 1 << 20);
        var plain = _folder.Image("plain.qcow2", "1M");
        _folder.Qcow2Blk("attach", plain, "--base", _web.Url("base.raw"), "--socket", _folder.File("s")).Refused(1, "no backing file");
        var over = _folder.Overlay("over.qcow2", "plain.qcow2");
        _folder.Qcow2Blk("attach", over, "--base", _web.Url("base.raw"), "--socket", _folder.File("s")).Refused(1, "--base has no place");
    }

    [Theory]
    [InlineData("http://192.0.2.1/base.raw", "--insecure")]
    [InlineData("https://user:secret@192.0.2.1/base.raw", "--credentials")]
    [InlineData("ftp://192.0.2.1/base.raw", "must begin with")]
    public void Url_that_should_not_be_used_is_refused(string url, string why) =>
        _folder.Qcow2Blk("attach", Overlay("base.raw", "raw"), "--base", url, "--socket", _folder.File("s")).RefusedWith(why);

    [Fact]
    public void Signature_in_a_url_is_shown_nowhere()
    {
        Random("www/base.raw", 1 << 20);
        var server = Attach(Overlay("base.raw", "raw"), "--base", _web.Url("base.raw") + "?signature=s3cret");
        Assert.DoesNotContain("s3cret", server.Status().GetRawText(), StringComparison.Ordinal);
        Assert.DoesNotContain("s3cret", File.ReadAllText($"/proc/{server.Pid}/cmdline"), StringComparison.Ordinal);
        Assert.DoesNotContain("s3cret", _folder.Qcow2Blk("status", server.Name).Passed().Output, StringComparison.Ordinal);
        var kept = Directory.EnumerateFiles(_cache, "*.json", SearchOption.AllDirectories).Select(File.ReadAllText).ToList();
        Assert.NotEmpty(kept);
        Assert.All(kept, text => Assert.DoesNotContain("s3cret", text, StringComparison.Ordinal));
        server.Detach();
    }

    private static string Url(int port, string name) => string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{port}/{name}");

    private static JsonElement BaseOf(Server server) => server.Status().GetProperty("bases")[0];

    private void Publish(string path) => File.Copy(path, _folder.File($"www/{Path.GetFileName(path)}"), overwrite: true);

    private string Random(string name, int length, int seed = 1)
    {
        var bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        File.WriteAllBytes(_folder.File(name), bytes);
        return _folder.File(name);
    }

    /// <summary>An overlay of a base that is not beside it.</summary>
    private string Overlay(string below, string format, string name = "overlay.qcow2")
    {
        var size = new FileInfo(_folder.File("www/" + below)) is { Exists: true } file ? file.Length : 1 << 20;
        Run.QemuImg("create", "-q", "-u", "-f", "qcow2", "-b", below, "-F", format, _folder.File(name), $"{size}");
        return _folder.File(name);
    }

    private Server Attach(string overlay, params string[] options)
    {
        string[] cache = options.Contains("--cache-dir") ? [] : ["--cache-dir", _cache];
        return Server.Attach(_folder, _folder.File(overlay), [.. options, .. cache]);
    }
}
