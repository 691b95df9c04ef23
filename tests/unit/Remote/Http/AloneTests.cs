using System;
using System.Linq;
using Qcow2Blk.Remote;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Uring;
using Xunit;
using static Qcow2Blk.Tests.Remote.Http.HostileTests;

namespace Qcow2Blk.Tests.Remote.Http;

/// <summary>Tests of a whole process: no others run beside them.</summary>
[CollectionDefinition(nameof(AloneTests), DisableParallelization = true)]
[Collection(nameof(AloneTests))]
public sealed class AloneTests : IDisposable
{
    private readonly string? _before = Environment.GetEnvironmentVariable(EventLoop.EmulationVariable);

    public void Dispose() => Environment.SetEnvironmentVariable(EventLoop.EmulationVariable, _before);

    [Fact]
    public void Loop_without_a_ring_reads_and_keeps_to_its_timeouts()
    {
        Environment.SetEnvironmentVariable(EventLoop.EmulationVariable, "off");
        var bytes = SourceScene.Pattern(1 << 20);
        var silent = false;
        using var server = new HostileServer(request => HostileReply.Honest(request, bytes) with { Wait = silent ? 2000 : 0 });
        using var scene = new SourceScene(server.Url());
        Assert.True(scene.IsEmulated);
        AssertDone(scene.Open());
        var ranges = Enumerable.Range(0, 40).Select(i => (Offset: i * 7919L, Length: 100_000 + i)).ToArray();
        var results = scene.Read(ranges);
        for (var i = 0; i < ranges.Length; i++)
        {
            AssertDone(results[i].Result);
            Assert.True(bytes.AsSpan((int)ranges[i].Offset, ranges[i].Length).SequenceEqual(results[i].Bytes));
        }

        silent = true;
        Assert.Equal(FetchStatus.Unavailable, scene.Read(0, 4096).Result.Status);
        silent = false;
        AssertDone(scene.Read(0, 4096).Result);
    }

    [Fact]
    public void Storm_of_refusals_needs_no_memory()
    {
        var body = new byte[500_000];
        var bytes = SourceScene.Pattern(100_000);
        using var server = new HostileServer(request => request.Range.Start == 0
            ? HostileReply.Honest(request, bytes) : new HostileReply(503) { Body = body });
        using var scene = new SourceScene(server.Url());
        AssertDone(scene.Open());
        var ranges = Enumerable.Repeat((Offset: 4096L, Length: 16384), 200).ToArray();
        scene.Read(ranges);
        var before = Memory();
        for (var i = 0; i < 5; i++)
            Assert.All(scene.Read(ranges), each => Assert.Equal(FetchStatus.Unavailable, each.Result.Status));
        var grown = Memory() - before;
        Assert.True(grown < 64 << 20, $"grew by {grown >> 20} MiB, and was sent 500 MB");
    }

    private static long Memory()
    {
        GC.Collect();
        return Environment.WorkingSet;
    }
}
