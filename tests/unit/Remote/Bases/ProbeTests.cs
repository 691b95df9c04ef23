using System;
using System.Linq;
using Qcow2Blk.Remote;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Bases;

/// <summary>Whether the first source is back is found out by reads that nobody waits for.</summary>
public class ProbeTests
{
    private const int Chunk = BaseOnLoop.Chunk;
    private const int Detour = 31_000;
    private const string First = "https://server0/base", Mirror = "https://server1/base";

    private static readonly FetchResult s_away = new(FetchStatus.Unavailable, "nobody answers");

    [Theory]
    [InlineData(false, 4096)]
    [InlineData(true, Chunk)]
    public void Requests_go_to_the_mirror_until_a_probe_has_succeeded(bool hasProof, int bytes)
    {
        using var scene = LeftFor(1, hasProof);
        scene.Sleep(Detour);
        scene.Source.Always = null;
        scene.Source.Delays.Enqueue(10_000);
        var probed = scene.Source.Handles.Count;
        var began = scene.Loop.Now;
        for (var chunk = 4; chunk < 16; chunk += 2)
            Assert.Equal(0, scene.Read(chunk * Chunk, 10));

        Assert.InRange(scene.Loop.Now - began, 0, 200);
        Assert.Equal(probed + 1, scene.Source.Handles.Count);
        Assert.Equal(bytes, scene.Source.Lengths[^1]);
        Assert.Equal(Mirror, scene.Storage.SourceName);

        scene.Sleep(11_000);
        Assert.Equal(First, scene.Storage.SourceName);
        Assert.Equal(0, scene.Read(30 * Chunk, 10));
        Assert.Equal(30L * Chunk, scene.Source.Reads[^1]);
    }

    [Fact]
    public void Probe_that_fails_is_made_again_a_while_later_and_is_no_trouble()
    {
        using var scene = LeftFor(2, hasProof: false);
        for (var round = 0; round < 3; round++)
        {
            scene.Sleep(Detour);
            var before = scene.Source.Handles.Count;
            for (var chunk = 0; chunk < 3; chunk++)
            {
                Assert.Equal(0, scene.Read(((round * 6) + (chunk * 2) + 4) * Chunk, 10));
                scene.WaitUntilIdle();
            }

            Assert.Equal(before + 1, scene.Source.Handles.Count);
            Assert.Equal(Mirror, scene.Storage.SourceName);
            Assert.Null(scene.Storage.Trouble);
        }
    }

    /// <summary>However often the mirror is read: the time counts from when the first source was left.</summary>
    [Fact]
    public void First_source_is_asked_after_half_a_minute_and_not_before()
    {
        using var scene = LeftFor(7, hasProof: false, after: 60_000);
        var before = scene.Source.Handles.Count;
        for (var i = 0; i < 5; i++)
        {
            Assert.Equal(0, scene.Read((4 + (2 * i)) * Chunk, 10));
            scene.WaitUntilIdle();
            Assert.Equal(before + (i < 4 ? 0 : 1), scene.Source.Handles.Count);
            scene.Sleep(i < 2 ? 14_000 : 1500);
        }
    }

    [Fact]
    public void Source_that_still_sends_what_the_manifest_does_not_say_is_not_gone_back_to()
    {
        using var scene = LeftFor(3, hasProof: true);
        (scene.Source.Always, scene.Source.Lies) = (null, true);
        scene.Sleep(Detour);
        var before = scene.Source.Handles.Count;
        scene.Source.Delays.Enqueue(50);
        Assert.Equal(0, scene.Read(4 * Chunk, 10));
        scene.Sleep(100);
        Assert.Equal(before + 1, scene.Source.Handles.Count);
        Assert.Equal(Mirror, scene.Storage.SourceName);
    }

    [Fact]
    public void Source_that_has_changed_meanwhile_is_dropped_and_the_mirror_goes_on()
    {
        using var scene = LeftFor(4, hasProof: false);
        scene.Sleep(Detour);
        scene.Source.Always = new FetchResult(FetchStatus.Changed, "the base changed");
        Assert.Equal(0, scene.Read(4 * Chunk, 10));
        scene.Sleep(100);
        Assert.Equal(0, scene.Read(6 * Chunk, 10));
        Assert.Equal(Mirror, scene.Storage.SourceName);
        Assert.Single(scene.Reports, report => report.Contains("the base changed", StringComparison.Ordinal));

        // It is not asked whether it is back.
        var asked = scene.Source.Handles.Count;
        scene.Sleep(Detour);
        Assert.Equal(0, scene.Read(8 * Chunk, 10));
        Assert.Equal(asked, scene.Source.Handles.Count);
    }

    [Fact]
    public void Close_ends_a_probe()
    {
        var scene = LeftFor(5, hasProof: false);
        scene.Sleep(Detour);
        (scene.Source.Always, scene.Source.Holds) = (null, true);
        Assert.Equal(0, scene.Read(4 * Chunk, 10));
        Assert.Equal(1, scene.Source.Held);
        scene.Dispose();
        Assert.Equal(0, scene.Source.Held);
    }

    [Fact]
    public void Mirror_that_had_to_answer_three_times_in_a_row_is_asked_first()
    {
        using var scene = new BaseOnLoop(6, sources: 2);
        for (var chunk = 0; chunk < 3; chunk++)
        {
            Assert.Equal(First, scene.Storage.SourceName);
            scene.Source.Delays.Enqueue(10_000);
            Assert.Equal(0, scene.Read(2 * chunk * Chunk, 10));
        }

        Assert.Equal(Mirror, scene.Storage.SourceName);
        Assert.Equal(3, scene.Source.Reads.Count);
    }

    /// <summary>A base whose first source went away, so that the mirror stands in.</summary>
    private static BaseOnLoop LeftFor(int seed, bool hasProof, int after = 0)
    {
        var scene = new BaseOnLoop(seed, sources: 2, hasProof: hasProof);
        scene.Sleep(after);
        Assert.Equal(0, scene.Read(0, 10));
        scene.WaitUntilIdle();
        scene.Source.Always = s_away;
        Assert.Equal(0, scene.Read(2 * Chunk, 10));
        scene.WaitUntilIdle();
        Assert.Equal(Mirror, scene.Storage.SourceName);
        return scene;
    }
}
