using System;
using System.IO;
using System.Linq;
using System.Text;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Bases;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Bases;

public class BootTraceTests
{
    private const string Head = """{"format":"qcow2blk-trace","version":1,"base":"x","identity":"e","length":1000000,"chunk-size":65536}""";

    [Fact]
    public void Record_has_the_order_of_first_touches_and_reads_back()
    {
        using var directory = new TempDirectory();
        var path = directory.File("trace");
        using (var scene = new BaseOnLoop(1, settings: new RemoteSettings { RecordTrace = path }))
        {
            foreach (var chunk in (int[])[5, 0, 5, 3, 0])
                Assert.Equal(0, scene.Read(chunk * BaseOnLoop.Chunk, 10));
            Assert.Null(scene.Storage.CachedFile);

            // Who kills the server has most of it.
            scene.Sleep(1500);
            Assert.Contains(BootTrace.Entry(3 * BaseOnLoop.Chunk, 0)[..16], File.ReadAllText(path), StringComparison.Ordinal);
        }

        Assert.Null(BootTrace.Parse(File.ReadAllBytes(path), out var trace));
        Assert.Equal([5L * BaseOnLoop.Chunk, 0, 3L * BaseOnLoop.Chunk], trace!.Offsets);
        Assert.Equal("\"one\"", trace.Version);
        Assert.Equal(BaseOnLoop.Chunk, trace.ChunkBytes);
    }

    [Fact]
    public void Record_goes_on_after_a_suspend_and_leaves_half_a_line_out()
    {
        using var directory = new TempDirectory();
        var path = directory.File("trace");
        Record(path, goesOn: false, 5, 0);
        var before = File.ReadAllText(path);
        File.AppendAllText(path, "{\"offs");
        Record(path, goesOn: true, 0, 7, 5, 3);

        Assert.StartsWith(before, File.ReadAllText(path), StringComparison.Ordinal);
        Assert.Null(BootTrace.Parse(File.ReadAllBytes(path), out var trace));
        Assert.Equal([5, 0, 7, 3], trace!.Offsets.Select(offset => offset / BaseOnLoop.Chunk));

        // Who attaches anew wants a record of that start.
        Record(path, goesOn: false, 1);
        Assert.Null(BootTrace.Parse(File.ReadAllBytes(path), out trace));
        Assert.Equal([1L * BaseOnLoop.Chunk], trace!.Offsets);
    }

    public static TheoryData<string> OtherRecords
    {
        get
        {
            const int length = (40 * BaseOnLoop.Chunk) + 1000;
            return
            [
                "", "something else", new string('x', 5000), Head + "\n{\"offset\":65536,\"ms\":1}\n",
                Record("\"two\"", length, BaseOnLoop.Chunk), Record(null, length, BaseOnLoop.Chunk),
                Record("\"one\"", length + 1, BaseOnLoop.Chunk), Record("\"one\"", length, 2 * BaseOnLoop.Chunk),
            ];

            static string Record(string? version, long bytes, int chunkBytes) =>
                BootTrace.Header("https://server0/base", version, bytes, chunkBytes) + "\n"
                + string.Concat(Enumerable.Range(0, 30).Select(chunk => BootTrace.Entry(chunk * BaseOnLoop.Chunk, 1) + "\n"));
        }
    }

    [Theory]
    [MemberData(nameof(OtherRecords))]
    public void What_is_not_a_record_of_this_base_does_not_stay_in_it(string text)
    {
        using var directory = new TempDirectory();
        var path = directory.File("trace");
        File.WriteAllText(path, text);
        Record(path, goesOn: true, 4);
        Assert.Null(BootTrace.Parse(File.ReadAllBytes(path), out var trace));
        Assert.Equal([4L * BaseOnLoop.Chunk], trace!.Offsets);
    }

    [Fact]
    public void Time_of_a_record_goes_on()
    {
        using var directory = new TempDirectory();
        var path = directory.File("trace");
        Record(path, goesOn: false, 5);
        File.AppendAllText(path, BootTrace.Entry(0, 90_000) + "\n");
        Record(path, goesOn: true, 7);
        Assert.Null(BootTrace.Parse(File.ReadAllBytes(path), out var trace));
        Assert.InRange(trace!.Milliseconds, 90_000, 150_000);
    }

    private static void Record(string path, bool goesOn, params int[] chunks)
    {
        using var scene = new BaseOnLoop(1, settings: new RemoteSettings { RecordTrace = path, GoesOnRecording = goesOn });
        foreach (var chunk in chunks)
            Assert.Equal(0, scene.Read(chunk * BaseOnLoop.Chunk, 10));
    }

    /// <summary>Chunks of the trace are 4 of the base's, and its second line names the same as the first.</summary>
    [Fact]
    public void Trace_pins_no_more_than_it_may_and_the_first_that_it_names()
    {
        using var scene = new BaseOnLoop(1);
        scene.Cache!.MostPinnedByTrace = (6 * BaseOnLoop.Chunk) + 1;
        var pins = scene.Storage.PinsOfTrace();
        foreach (var chunk in (long[])[20, 20, 4, 30])
            scene.Storage.FetchTraced(chunk * BaseOnLoop.Chunk, 4 * BaseOnLoop.Chunk, pins);
        scene.Storage.FetchTraced(-1, 1, pins);
        scene.Storage.FetchTraced(scene.Content.Length, 1, pins);
        scene.WaitUntilIdle();
        Assert.Equal([4, 5, 20, 21, 22, 23], scene.Cache.Pinned.Order());
        Assert.Equal([4, 5, 6, 7, 20, 21, 22, 23, 30, 31, 32, 33], scene.Cache.Stored.Keys.Order());
    }

    [Theory]
    [InlineData("", "it is empty")]
    [InlineData("[]\n", "line 1: it is not a JSON object")]
    [InlineData("{}\n", "line 1: \"format\"")]
    [InlineData("""{"format":"other-trace","version":1,"length":1,"chunk-size":65536}""", "line 1: \"format\"")]
    [InlineData("""{"format":"qcow2blk-trace","version":2,"length":1,"chunk-size":65536}""", "line 1: \"version\"")]
    [InlineData("""{"format":"qcow2blk-trace","version":1,"length":-1,"chunk-size":65536}""", "line 1: \"length\"")]
    [InlineData("""{"format":"qcow2blk-trace","version":1,"length":1,"chunk-size":1}""", "line 1: \"chunk-size\"")]
    [InlineData(Head + "\n{\"offset\":1000000}\n{\"offset\":0}\n", "line 2: \"offset\"")]
    [InlineData(Head + "\n{\"offset\":-1}\n\n", "line 2: \"offset\"")]
    [InlineData(Head + "\nnonsense\n{\"offset\":0}\n", "line 2: it is not valid JSON")]
    [InlineData(Head + "\n{\"offset\":\"0\"}\n\n", "line 2: ")]
    [InlineData("\"\xff", "line 1: it is not valid JSON")]
    public void Text_that_is_no_trace_is_refused(string text, string why) =>
        Assert.StartsWith(why, BootTrace.Parse(Encoding.UTF8.GetBytes(text), out _), StringComparison.Ordinal);

    [Fact]
    public void Half_a_line_at_the_end_is_left_out()
    {
        var text = Encoding.UTF8.GetBytes(Head + "\n{\"offset\":65536,\"ms\":1}\n{\"offs");
        Assert.Null(BootTrace.Parse(text, out var trace));
        Assert.Equal([65536L], trace!.Offsets);
    }

    [Fact]
    public void Random_bytes_never_do_more_than_be_refused()
    {
        var random = new Random(1);
        var good = Encoding.UTF8.GetBytes(Head + "\n" + string.Concat(Enumerable.Range(0, 10).Select(i => $"{{\"offset\":{i}}}\n")));
        for (var round = 0; round < 5000; round++)
        {
            var bytes = good.ToArray();
            for (var i = 0; i < 3; i++)
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            if (BootTrace.Parse(bytes, out var trace) is null)
                Assert.All(trace!.Offsets, offset => Assert.InRange(offset, 0, trace.Length - 1));
        }
    }
}
