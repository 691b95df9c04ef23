using System;
using System.IO;
using System.Linq;
using System.Text.Json;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>fio writing through its nbd engine and verifying what it wrote, until it is told to end.</summary>
internal sealed class Fio : IDisposable
{
    private readonly Running _fio;
    private readonly Server _server;
    private readonly string _report;

    private Fio(Folder folder, Server server, string area, string blockSize)
    {
        _server = server;
        _report = folder.File($"fio-{Guid.NewGuid():N}.json");
        _fio = Run.Start(null, "fio", "--name=verify", "--ioengine=nbd", $"--uri={server.Uri}", "--rw=randwrite", $"--bs={blockSize}",
            $"--size={area}", "--iodepth=16", "--verify=crc32c", "--verify_backlog=64", "--verify_fatal=1", "--time_based", "--runtime=600",
            "--randseed=7", "--fsync=32", "--output-format=json", $"--output={_report}", $"--aux-path={Path.GetDirectoryName(_report)}");
    }

    public static Fio Start(Folder folder, Server server, string area, string blockSize = "16k")
    {
        Assert.SkipUnless(File.Exists("/usr/bin/fio"), "no fio");
        return folder.Own(new Fio(folder, server, area, blockSize));
    }

    /// <summary>Waits until the server has done some hundred requests more: fio is at work, not waiting.</summary>
    public void WaitForProgress()
    {
        var reached = Requests() + 200;
        Deadline.Until(() => _fio.HasExited || Requests() >= reached, "fio's requests are answered");
        Assert.False(_fio.HasExited, _fio.HasExited ? _fio.Wait().ToString() : "");
    }

    /// <summary>Ends fio; fails the test if a request failed or data was not what had been written.</summary>
    public void EndWithoutErrors()
    {
        _fio.Signal("INT");
        var outcome = _fio.Wait();
        var text = File.ReadAllText(_report);
        var job = JsonDocument.Parse(text[text.IndexOf('{', StringComparison.Ordinal)..]).RootElement.GetProperty("jobs")
            .EnumerateArray().Single();
        Assert.True(job.GetProperty("error").GetInt32() == 0, $"{outcome}\n{text}");
        Assert.True(job.GetProperty("read").GetProperty("total_ios").GetInt64() > 0, "fio has verified nothing");
        Assert.DoesNotContain("verify:", outcome.Errors, StringComparison.Ordinal);
    }

    private long Requests()
    {
        var requests = _server.Status().GetProperty("requests");
        return requests.GetProperty("reads").GetInt64() + requests.GetProperty("writes").GetInt64();
    }

    public void Dispose() => _fio.Dispose();
}
