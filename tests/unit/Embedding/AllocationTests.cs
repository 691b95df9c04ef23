using System;
using System.Threading;
using Qcow2Blk.Embedding;
using Xunit;

namespace Qcow2Blk.Tests.Embedding;

/// <summary>Requests of a program allocate nothing in steady state: neither on its thread nor on that of the image.</summary>
public sealed class AllocationTests
{
    private const int Cluster = EmbeddedScene.Cluster;
    private const int Rounds = 400;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Synchronous_requests_allocate_nothing(bool isDriven)
    {
        using var scene = new EmbeddedScene("16M", "", ("cache", "writeback"));
        var image = scene.Open(isDriven: isDriven);
        AssertNothing(image, () =>
        {
            scene.Read(3 * Cluster, 4096);
            scene.Read((3 * Cluster) + 5, 100);
            scene.Write(4 * Cluster, 4096, 1);

            // Not mapped to one piece: the loop does it.
            scene.Read((15 * Cluster) + 4096, Cluster);
        });
    }

    [Fact]
    public void Asynchronous_requests_allocate_nothing()
    {
        using var scene = new EmbeddedScene("16M", "", ("cache", "writeback"));
        var image = scene.Open();
        var queue = new CompletionQueue(64);
        var ended = new Completion[64];
        AssertNothing(image, () =>
        {
            for (var i = 0; i < 16; i++)
            {
                var shape = new RequestShape(RequestKind.Read, scene.Memory + (i * 4096), i * Cluster, 4096, RequestFlags.None);
                if (image.Submit(shape, [], new Notification(queue, 0, i)) != 0)
                    throw new InvalidOperationException("not accepted");
            }

            for (var count = 0; count < 16;)
                count += queue.Wait(ended, -1);
        });
    }

    private static void AssertNothing(OpenImage image, Action work)
    {
        // Pools fill up, and the queues between threads grow to what they need.
        for (var i = 0; i < Rounds; i++)
            work();
        var before = (Here: GC.GetAllocatedBytesForCurrentThread(), Loop: OnLoop(image));
        for (var i = 0; i < Rounds; i++)
            work();
        var after = (Here: GC.GetAllocatedBytesForCurrentThread(), Loop: OnLoop(image));

        // What the looks themselves cost, and a queue that has grown once more: one object a round would be at least 24 bytes each.
        Assert.InRange(after.Here - before.Here, 0, 12 * Rounds);
        Assert.InRange(after.Loop - before.Loop, 0, 12 * Rounds);
    }

    private static long OnLoop(OpenImage image)
    {
        if (image.IsDriven)
            return 0;
        var bytes = 0L;
        using var seen = new ManualResetEventSlim();
        image.Loop.PostFromAnyThread(() =>
        {
            bytes = GC.GetAllocatedBytesForCurrentThread();
            seen.Set();
        });
        seen.Wait();
        return bytes;
    }
}
