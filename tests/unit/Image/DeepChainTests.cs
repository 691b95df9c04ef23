using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Threading;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>A chain of as many images as are allowed: everything works, and no stack grows with the chain.</summary>
public sealed class DeepChainTests
{
    private const int Cluster = 4096;
    private const int Megabyte = 1 << 20;

    /// <summary>Less than a loop's thread has (512 KiB), and more than one image needs.</summary>
    private const int SmallStack = 192 << 10;

    private static readonly SparseBytes s_base = OneImage.Make("cluster_size=4096", "1M", "write -P 9 0 512k");
    private static readonly SparseBytes s_overlay = OneImage.Make("cluster_size=4096", "1M");
    private static readonly SparseBytes s_overlayWithTable = OneImage.Make("cluster_size=4096", "1M", "write -P 8 1020k 4k");

    [Fact]
    public void Stack_does_not_grow_with_the_chain()
    {
        var shallow = OnStack(1 << 20, () => DeepestStack(3));
        var deep = OnStack(16 << 20, () => DeepestStack(Limits.MaxBackingDepth));

        Assert.InRange(deep, 0, shallow + 12);
    }

    [Fact]
    public void Chain_of_the_largest_depth_is_read_mapped_written_and_closed_on_a_small_stack()
    {
        OnStack(1 << 20, () => Use(4)); // What is compiled on first use takes a larger stack.
        Assert.Equal(0, OnStack(SmallStack, () => Use(Limits.MaxBackingDepth)));
    }

    [Fact]
    public void Entries_of_an_image_are_looked_at_once_however_many_pieces_lie_below()
    {
        var everySecond = new List<string>();
        for (var cluster = 0; cluster < 128; cluster += 2)
            everySecond.Add($"write -P 5 {cluster * Cluster} {Cluster}");
        using var run = new OneImage(s_overlayWithTable.Copy(), OneImage.Make("cluster_size=4096", "1M", [.. everySecond]));
        Assert.Equal(0, run.Expect(Megabyte - Cluster, Cluster, 8)); // loads the table
        var before = run.Image.L2CacheHits;

        Assert.Equal(1, run.Expect(0, 128 * Cluster, 5));

        Assert.InRange(run.Image.L2CacheHits - before, 1, 2);
        Assert.Equal(0, run.Expect(126 * Cluster, Cluster, 5));
        Assert.Equal(0, run.Expect(127 * Cluster, Cluster, 0));
    }

    private static int Use(int depth)
    {
        using var chain = new Chain(depth, s_overlay);
        chain.Check(0, 9);
        var extent = chain.Loop.RunUntilComplete(chain.Top.MapAsync(0, Megabyte));
        Assert.Equal((0, 512 << 10, depth, false), (extent.Error, extent.Length, extent.Depth, extent.IsZero));
        Assert.True(chain.Top.TryMapRead(0, Cluster, out var mapped));
        Assert.Same(chain.Files[^1], mapped.File);
        Assert.False(chain.Top.TryMapZeroes(0, Cluster));
        Assert.True(chain.Top.TryMapZeroes(768 << 10, Cluster));

        Assert.Equal(0, chain.Write(100, 50, 7));
        chain.Check(0, 9, 100);
        chain.Check(100, 7, 50);
        chain.Check(150, 9, Cluster - 150);
        return chain.Loop.Run(chain.Top.CloseAsync);
    }

    /// <summary>The most stack frames under a file operation of a chain that is read, mapped and written with nothing cached.</summary>
    private static int DeepestStack(int depth)
    {
        var deepest = 0;
        foreach (var overlay in new[] { s_overlay, s_overlayWithTable })
        {
            foreach (var use in new Action<Chain>[]
            {
                chain => chain.Check(0, 9),
                chain => chain.Loop.RunUntilComplete(chain.Top.MapAsync(0, Megabyte)),
                chain => chain.Write(100, 50, 7),
            })
            {
                using var chain = new Chain(depth, overlay);
                foreach (var file in chain.Files)
                    file.Fault = _ => (deepest = Math.Max(deepest, new StackTrace().FrameCount)) * 0;
                use(chain);
                Assert.Equal(0, chain.Loop.Run(chain.Top.CloseAsync));
            }
        }

        return deepest;
    }

    private static T OnStack<T>(int bytes, Func<T> work)
    {
        T result = default!;
        Exception? failure = null;
        var thread = new Thread(
            () =>
            {
                try
                {
                    result = work();
                }
                catch (Exception error)
                {
                    failure = error;
                }
            },
            bytes);
        thread.Start();
        thread.Join();
        return failure is null ? result : throw new InvalidOperationException(failure.Message, failure);
    }

    /// <summary>Overlays that hold the same, over a base; the top may be written.</summary>
    private sealed class Chain : IDisposable
    {
        public Chain(int depth, SparseBytes overlay)
        {
            IDisk? below = null;
            for (var index = depth - 1; index >= 0; index--)
            {
                var content = index == depth - 1 ? s_base : index == 0 ? overlay.Copy() : overlay;
                var file = new MemoryStorage(Loop, content, readOnly: index > 0);
                Files.Insert(0, file);
                var options = new ImageOptions { ReadOnly = index > 0, CacheBytes = 64 << 10 };
                below = Loop.RunUntilComplete(Qcow2Image.OpenAsync(file, options, below));
            }

            Top = (Qcow2Image)below!;
        }

        public SimulatedLoop Loop { get; } = new(1);

        public List<MemoryStorage> Files { get; } = [];

        public Qcow2Image Top { get; }

        public void Check(long offset, byte value, int length = Cluster)
        {
            using var buffer = new TableBuffer(length);
            Assert.Equal(0, Loop.RunUntilComplete(Top.ReadAsync(offset, buffer.Take(length))));
            Assert.False(buffer.Span[..length].ContainsAnyExcept(value));
        }

        public int Write(long offset, int length, byte value)
        {
            using var buffer = new TableBuffer(length);
            buffer.Span.Fill(value);
            return Loop.RunUntilComplete(Top.WriteAsync(offset, buffer.Take(length), forceUnitAccess: true));
        }

        public void Dispose() => Loop.Dispose();
    }
}
