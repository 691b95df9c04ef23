using System;
using System.Diagnostics;
using System.Threading;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Bases;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Bases;

/// <summary>The rest of a base is fetched while nobody else needs its source, and given up only where it is not kept.</summary>
public class BackgroundFillTests
{
    private const int Chunk = BaseOnLoop.Chunk;

    private static readonly RemoteSettings s_fill = new() { FillAfter = TimeSpan.Zero };

    [Fact]
    public void Fill_waits_while_a_request_is_under_way()
    {
        using var scene = new BaseOnLoop(1, settings: s_fill with { FillAfter = TimeSpan.FromMilliseconds(50) });
        scene.Source.Holds = true;
        var read = scene.ReadAsync(20 * Chunk, 10);
        Thread.Sleep(100);
        scene.Sleep(2000);
        Assert.Equal([20L * Chunk], scene.Source.Reads);
        scene.Source.LetGo();
        Assert.Equal(0, scene.Loop.RunUntilComplete(read));
        AssertBecomesLocal(scene);
    }

    [Fact]
    public void Source_that_is_away_for_a_while_does_not_end_the_fill()
    {
        using var scene = new BaseOnLoop(2, settings: s_fill);
        scene.Source.Always = new FetchResult(FetchStatus.Unavailable, "nobody answers");
        scene.Sleep(2000);
        Assert.Equal(SourceState.WaitingForSource, scene.Storage.State);
        Assert.DoesNotContain(scene.Reports, report => report.Contains("does not keep", StringComparison.Ordinal));

        // What failed in the first pass is fetched in the second.
        scene.Source.Always = null;
        Assert.Equal(0, scene.Read(20 * Chunk, 10));
        AssertBecomesLocal(scene);
    }

    [Fact]
    public void Fill_takes_no_more_than_its_rate()
    {
        const int milliseconds = 300;
        var clock = Stopwatch.StartNew();
        using var scene = new BaseOnLoop(3, settings: s_fill with { FillRate = 41L * Chunk * 1000 / milliseconds });
        while (!scene.Storage.IsLocal)
            scene.Loop.Step();
        Assert.InRange(clock.ElapsedMilliseconds, milliseconds * 8 / 10, int.MaxValue);
    }

    [Fact]
    public void Fill_of_a_base_that_was_closed_ends_without_a_word()
    {
        using var scene = new BaseOnLoop(4, settings: new RemoteSettings { FillAfter = TimeSpan.FromMilliseconds(50) });
        scene.Storage.Dispose();
        Thread.Sleep(100);
        scene.Sleep(2000);
        Assert.Empty(scene.Source.Reads);
        Assert.Empty(scene.Reports);
    }

    /// <summary>Pauses of a fill are real ones.</summary>
    private static void AssertBecomesLocal(BaseOnLoop scene)
    {
        for (var clock = Stopwatch.StartNew(); !scene.Storage.IsLocal && clock.ElapsedMilliseconds < 20_000;)
            scene.Loop.Step();
        Assert.True(scene.Storage.IsLocal);
    }
}
