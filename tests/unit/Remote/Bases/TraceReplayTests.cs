using System.IO;
using System.Linq;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Bases;
using Qcow2Blk.Tests.Devices;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Bases;

/// <summary>A trace is fetched ahead in its order, if it is of the base that was opened.</summary>
public class TraceReplayTests
{
    private const int Chunk = BaseOnLoop.Chunk, Length = (40 * Chunk) + 1000;
    private const string One = "\"one\"", PinnedOne = BaseOpening.PinnedVersion + "1", PinnedTwo = BaseOpening.PinnedVersion + "2";

    private static readonly long[] s_chunks = [7, 3, 12];

    [Theory]
    [InlineData(One, One, Length, true)]
    [InlineData(null, null, Length, true)]
    [InlineData(One, One, Length + 1, false)]
    [InlineData("\"two\"", One, Length, false)]
    [InlineData(null, One, Length, false)]
    [InlineData(PinnedOne, PinnedOne, Length, true)]
    [InlineData(PinnedTwo, PinnedOne, Length, false)]
    [InlineData(One, PinnedOne, Length, true)]
    [InlineData(PinnedOne, One, Length, true)]
    [InlineData(PinnedOne, One, Length + 1, false)]
    public void Trace_is_of_use_for_the_base_that_it_is_of(string? recorded, string? version, long length, bool isUsed)
    {
        using var directory = new TempDirectory();
        var text = BootTrace.Header("x", recorded, length, Chunk) + "\n"
            + string.Concat(s_chunks.Select(chunk => BootTrace.Entry(chunk * Chunk, 1) + "\n"));
        File.WriteAllText(directory.File("trace"), text);
        using var scene = new BaseOnLoop(1);
        scene.Source.Depth = 1;
        Assert.Equal(0, scene.Loop.RunUntilComplete(
            TraceReplay.RunAsync(scene.Storage, directory.File("trace"), version, new RemoteSettings(), Create, new NoLog())));
        scene.WaitUntilIdle();
        Assert.Equal(isUsed ? [7L * Chunk, 3L * Chunk, 12L * Chunk] : [], scene.Source.Reads);
        Assert.Equal(isUsed ? [3L, 7, 12] : [], scene.Cache!.Pinned.Order());
    }

    [Theory]
    [InlineData(null)]
    [InlineData("nonsense")]
    public void Start_goes_on_without_a_trace_that_is_none(string? text)
    {
        using var directory = new TempDirectory();
        if (text is not null)
            File.WriteAllText(directory.File("trace"), text);
        using var scene = new BaseOnLoop(2);
        Assert.Equal(0, scene.Loop.RunUntilComplete(
            TraceReplay.RunAsync(scene.Storage, directory.File("trace"), One, new RemoteSettings(), Create, new NoLog())));
        Assert.Equal(0, scene.Read(0, 10));
    }

    private static string? Create(RemoteLocation location, RemoteSettings settings, System.Action<string> report, out IRemoteSource? source)
    {
        source = null;
        return "a path needs no source";
    }
}
