using System;
using System.Linq;
using System.Text.Json;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>What <c>trace</c> tells of requests that qemu-io makes.</summary>
public sealed class TraceTests : IDisposable
{
    private readonly Folder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Each_request_is_shown_with_what_it_was_and_how_it_was_served()
    {
        var image = _folder.Image("disk.qcow2", "8M");
        Run.QemuIo(image, "write -P 7 0 1M");
        var server = Server.Attach(_folder, image);
        using var trace = Begin(server, "--json");

        Run.Program("qemu-io", "-f", "raw", "-t", "writeback", server.Uri, "-c", "read 64k 64k", "-c", "read 64k 4k",
            "-c", "write -P 9 128k 8k", "-c", "write -P 9 128k 8k",
            "-c", "write -P 9 4M 64k", "-c", "discard 5M 1M", "-c", "flush").Passed();
        var lines = End(trace);

        Assert.Contains(("read", 65536, 4096, "direct"), lines.Select(Shape));
        Assert.Contains(("write", 131072, 8192, "direct"), lines.Select(Shape));
        Assert.Contains(("write", 4 << 20, 65536, "home"), lines.Select(Shape));
        Assert.Contains(("discard", 5 << 20, 1 << 20, "home"), lines.Select(Shape));
        Assert.Contains("flush", lines.Select(line => line.GetProperty("operation").GetString()));
        Assert.All(lines, line => Assert.InRange(line.GetProperty("latency-ns").GetInt64(), 1, 60_000_000_000));
        server.Detach();
    }

    [Fact]
    public void A_request_that_a_limit_held_back_says_so()
    {
        var server = Server.Attach(_folder, _folder.Image("disk.qcow2", "8M"), "--iops", "5", "--burst", "0.02");
        using var trace = Begin(server, "--json");
        Run.Program("qemu-io", "-f", "raw", server.Uri, "-c", "write 0 4k", "-c", "write 64k 4k", "-c", "write 128k 4k").Passed();
        var lines = End(trace);
        Assert.Contains(lines, line => line.TryGetProperty("waited-for", out var reasons) && reasons[0].GetString() == "limit");
        server.Detach();
    }

    [Fact]
    public void Only_one_client_may_trace_and_the_end_of_the_device_ends_it()
    {
        var server = Server.Attach(_folder, _folder.Image("disk.qcow2", "8M"));
        using var trace = Begin(server);
        var refused = _folder.Qcow2Blk("trace", server.Name, "--seconds", "1");
        Assert.NotEqual(0, refused.Status);
        Assert.Contains("another client", refused.Errors, StringComparison.Ordinal);
        server.Detach();
        Assert.Contains(" requests in ", trace.Wait().Passed().Errors, StringComparison.Ordinal);
    }

    [Fact]
    public void A_trace_ends_after_as_many_requests_as_it_was_told()
    {
        var image = _folder.Image("disk.qcow2", "8M");
        var server = Server.Attach(_folder, image);
        using var trace = Begin(server, "--count", "3");
        Run.Program("qemu-io", "-f", "raw", server.Uri, "-c", "write 0 4k", "-c", "write 64k 4k", "-c", "write 128k 4k", "-c", "write 0 4k")
            .Passed();
        var outcome = trace.Wait().Passed();
        Assert.Equal(3, outcome.Output.Split('\n').Count(line => line.Contains(" write ", StringComparison.Ordinal)
            || line.Contains(" flush ", StringComparison.Ordinal) || line.Contains(" block-status ", StringComparison.Ordinal)));
        Assert.StartsWith("3 requests in ", outcome.Errors, StringComparison.Ordinal);
        server.Detach();
    }

    private Running Begin(Server server, params string[] options)
    {
        var trace = _folder.Own(Run.Start(Command.Environment(_folder), Command.Path, [.. new[] { "trace", server.Name }, .. options]));
        Deadline.Until(() => server.OpenFiles().Count(file => file.StartsWith("socket:", StringComparison.Ordinal)) >= 3,
            "the trace is connected");
        System.Threading.Thread.Sleep(200);
        return trace;
    }

    private static JsonElement[] End(Running trace)
    {
        System.Threading.Thread.Sleep(300);
        trace.Signal("INT");
        return [.. trace.Wait().Passed().Output.Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => JsonDocument.Parse(line).RootElement)];
    }

    private static (string? Operation, long Offset, long Length, string? Way) Shape(JsonElement line) => (
        line.GetProperty("operation").GetString(), line.GetProperty("offset").GetInt64(), line.GetProperty("length").GetInt64(),
        line.GetProperty("way").GetString());
}
