using System.Threading;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Bases;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Bases;

/// <summary>What is fetched ahead meets what is read: each chunk is fetched once, and kept if either wants that.</summary>
public class FetchAheadTests
{
    private const int Chunk = BaseOnLoop.Chunk;

    [Fact]
    public void Chunk_on_its_way_is_pinned_if_it_is_asked_for_ahead_meanwhile()
    {
        using var scene = new BaseOnLoop(1);
        scene.Source.Holds = true;
        var read = scene.ReadAsync(0, 10);
        while (scene.Source.Held == 0)
            scene.Loop.Step();
        scene.Storage.FetchAhead(0, 1, pin: true);
        scene.Source.LetGo();
        Assert.Equal(0, scene.Loop.RunUntilComplete(read));
        scene.WaitUntilIdle();
        Assert.Equal([0L], scene.Cache!.Pinned);
        Assert.Single(scene.Source.Reads);
    }

    [Fact]
    public void Chunk_in_the_queue_that_is_read_before_its_turn_is_fetched_once_and_pinned()
    {
        using var scene = new BaseOnLoop(2);
        scene.Source.Depth = 2;
        scene.Source.Holds = true;
        scene.ReadAsync(0, 10).Forget();
        scene.ReadAsync(2 * Chunk, 10).Forget();
        while (scene.Source.Held < 2)
            scene.Loop.Step();
        scene.Storage.FetchAhead(7 * Chunk, 1, pin: true);
        var read = scene.ReadAsync(7 * Chunk, 10);
        while (scene.Storage.Counters.Misses < 3)
            scene.Loop.Step();
        scene.Source.Delays.Enqueue(500);
        scene.Source.LetGo();
        Assert.Equal(0, scene.Loop.RunUntilComplete(read));
        scene.WaitUntilIdle();
        Assert.Equal([7L], scene.Cache!.Pinned);
        Assert.Equal(3, scene.Source.Reads.Count);
    }

    [Fact]
    public void Chunk_that_another_process_has_stored_meanwhile_is_not_asked_for()
    {
        using var scene = new BaseOnLoop(3);
        scene.Source.Depth = 1;
        scene.Source.Holds = true;
        scene.Storage.FetchAhead(0, 2 * Chunk, pin: false);
        while (scene.Source.Held == 0)
            scene.Loop.Step();
        scene.Cache!.Stored[1] = scene.Content[Chunk..(2 * Chunk)];
        scene.Source.LetGo();
        scene.WaitUntilIdle();
        Assert.Equal([0L], scene.Source.Reads);
        Assert.Equal(0, scene.Storage.Counters.Shared);
    }

    [Fact]
    public void Reading_ahead_ends_with_the_base()
    {
        using var scene = new BaseOnLoop(4);
        for (var chunk = 0; chunk <= 40; chunk++)
            Assert.Equal(0, scene.Read(chunk * Chunk, 1000));
        scene.WaitUntilIdle();
        Assert.Equal(41, scene.Source.Reads.Count);
    }

    /// <summary>A source that is slow with everything is away for those who wait for it; whoever watches is told once.</summary>
    [Fact]
    public void Requests_that_wait_for_two_seconds_show()
    {
        using var scene = new BaseOnLoop(5);
        var told = 0;
        scene.Storage.ParkedChanged = () => told++;
        scene.Source.Holds = true;
        var first = scene.ReadAsync(0, 10);
        var second = scene.ReadAsync(2 * Chunk, 10);
        scene.Sleep(1000);
        Assert.Equal((0, SourceState.Online), (scene.Storage.Parked, scene.Storage.State));
        Thread.Sleep(2000);
        scene.Sleep(1000);
        Assert.Equal((2, SourceState.WaitingForSource), (scene.Storage.Parked, scene.Storage.State));
        scene.Source.LetGo();
        Assert.Equal(0, scene.Loop.RunUntilComplete(first));
        Assert.Equal(0, scene.Loop.RunUntilComplete(second));
        Assert.Equal((0, 2), (scene.Storage.Parked, told));
    }
}
