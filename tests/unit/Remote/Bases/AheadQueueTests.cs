using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Bases;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Bases;

public class AheadQueueTests
{
    private const int Chunk = BaseOnLoop.Chunk;

    [Fact]
    public void Chunk_is_held_once_in_its_first_place_and_pinned_if_anybody_wants_that()
    {
        var queue = new AheadQueue();
        queue.Add(7, pin: false);
        queue.Add(3, pin: true);
        queue.Add(7, pin: true);
        queue.Add(3, pin: false);
        Assert.Equal(2, queue.Count);
        Assert.True(queue.TryTake(out var chunk, out var pin));
        Assert.Equal((7L, true), (chunk, pin));
        Assert.True(queue.TryTake(out chunk, out pin));
        Assert.Equal((3L, true), (chunk, pin));
        Assert.False(queue.TryTake(out _, out _));

        // What was taken may come again.
        queue.Add(7, pin: false);
        Assert.True(queue.TryTake(out chunk, out pin));
        Assert.Equal((7L, false), (chunk, pin));
    }

    [Fact]
    public void What_there_is_no_room_for_is_left_out()
    {
        var queue = new AheadQueue();
        for (var chunk = 0L; chunk < AheadQueue.Most + 10; chunk++)
            queue.Add(chunk, pin: false);
        Assert.Equal(AheadQueue.Most, queue.Count);
        queue.Clear();
        queue.Add(5, pin: false);
        Assert.Equal(1, queue.Count);
    }

    [Fact]
    public void Queue_does_not_grow_while_the_source_is_away()
    {
        using var scene = new BaseOnLoop(1);
        Assert.Equal(0, scene.Read(39 * Chunk, 10));
        scene.WaitUntilIdle();
        scene.Source.Always = new FetchResult(FetchStatus.Unavailable, "nobody answers");
        var read = scene.ReadAsync(0, 10);
        while (scene.Storage.Trouble is null)
            scene.Loop.Step();
        for (var round = 0; round < 10; round++)
            scene.Storage.FetchAhead(2 * Chunk, 20 * Chunk, pin: round == 5);
        Assert.Equal(20, scene.Storage.QueuedAhead);
        scene.Source.Always = null;
        Assert.Equal(0, scene.Loop.RunUntilComplete(read));
        scene.WaitUntilIdle();
        Assert.Contains(3L, scene.Cache!.Pinned);
    }
}
