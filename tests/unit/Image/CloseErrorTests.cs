using System;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>
/// An image whose close meets an error says so, is closed all the same, holds what was flushed, and is sound: this is what suspend
/// leaves to others.
/// </summary>
public sealed class CloseErrorTests
{
    private const int EIO = 5;
    private const int Cluster = 4096;
    private const int Most = 60;

    private static readonly SparseBytes s_image = OneImage.Make("cluster_size=4096", "16M", "write -P 1 0 1M", "write -c -P 2 1M 64k");

    [Theory]
    [InlineData(StorageOperationKind.Write, true)]
    [InlineData(StorageOperationKind.Flush, true)]
    [InlineData(StorageOperationKind.SetLength, true)]
    [InlineData(StorageOperationKind.Punch, false)] // the clusters are free all the same
    public void Error_in_the_middle_of_a_close(StorageOperationKind failing, bool isTold)
    {
        for (var which = 0; which < Most; which++)
        {
            using var run = Prepare(seed: which + 1);
            var count = 0;
            run.Storage.Fault = operation => operation.Kind == failing && count++ == which ? EIO : 0;

            var result = run.Loop.Run(run.Image.CloseAsync);

            AssertClosed(run, allThere: result == 0);
            if (count <= which)
            {
                Assert.Equal(0, result);
                Assert.True(which > 0, $"there was no {failing} to fail");
                return;
            }

            Assert.Equal(isTold ? -EIO : 0, result);
        }

        Assert.Fail($"a close has more than {Most} operations of that kind");
    }

    [Theory]
    [InlineData(StorageOperationKind.Write)]
    [InlineData(StorageOperationKind.Flush)]
    [InlineData(StorageOperationKind.Read)]
    public void Storage_that_fails_for_good(StorageOperationKind failing)
    {
        using var run = Prepare(seed: 1);
        run.Storage.Fault = operation => operation.Kind == failing ? EIO : 0;

        var result = run.Loop.Run(run.Image.CloseAsync);

        AssertClosed(run, allThere: result == 0);
        Assert.Equal(failing == StorageOperationKind.Read ? 0 : -EIO, result);
    }

    [Theory]
    [InlineData(StorageOperationKind.Write)]
    [InlineData(StorageOperationKind.Flush)]
    [InlineData(StorageOperationKind.Punch)]
    public void Image_found_to_be_corrupt_in_the_middle_of_a_commit_is_closed_only_after_its_last_operation(StorageOperationKind slow)
    {
        var image = OneImage.Make("cluster_size=65536", "16M", "write -P 1 0 512k");
        image.Put64(image.L2Table() + 8, image.U64(image.L2Table() + 8) + 512); // guest cluster 1
        using var run = new OneImage(image);
        Assert.Equal(0, run.Write(8 << 20, 65536, 4));
        Assert.Equal(0, run.Discard(4 * 65536, 65536));
        run.Storage.Hold = operation => operation.Kind == slow;
        var flush = run.Image.FlushAsync();
        run.Loop.RunUntilComplete(run.Loop.DelayAsync(10));
        Assert.Equal(1, run.Storage.InFlight);
        Assert.Equal(-EIO, run.Expect(65536, 512, 1));
        run.Storage.Hold = null;

        var close = run.Image.CloseAsync();
        run.Loop.RunUntilIdle();
        Assert.False(close.IsCompleted);
        run.Storage.Release();

        Assert.Equal(-EIO, run.Loop.RunUntilComplete(close));
        Assert.Equal(slow == StorageOperationKind.Punch ? 0 : -EIO, run.Loop.RunUntilComplete(flush));
        Assert.Equal(0, run.Storage.InFlight);
        Assert.True(run.Storage.Content.IsMarkedCorrupt());
    }

    [Fact]
    public void Nothing_is_asked_of_an_image_that_was_closed()
    {
        using var run = Prepare(seed: 1);
        Assert.Equal(0, run.Loop.Run(run.Image.CloseAsync));

        Assert.True(run.Flush() < 0);
        run.Image.WriteBehindWhenIdle();
        run.Loop.RunUntilIdle();
    }

    /// <summary>Some of everything: what was flushed, and writes, zeroes and discards that were not.</summary>
    private static OneImage Prepare(int seed)
    {
        var run = new OneImage(s_image.Copy(), seed: seed);
        Assert.Equal(0, run.Write(4 << 20, 64 * Cluster, 3));
        Assert.Equal(0, run.Flush());
        Assert.Equal(0, run.Write(8 << 20, 64 * Cluster, 4));
        Assert.Equal(0, run.Discard(0, 32 * Cluster));
        Assert.Equal(0, run.Zero(1 << 20, 8 * Cluster, ZeroFlags.MayUnmap));
        return run;
    }

    private static void AssertClosed(OneImage run, bool allThere)
    {
        Assert.Equal(0, run.Storage.InFlight);
        Assert.Throws<InvalidOperationException>(() => run.Storage.FlushAsync()); // the file was closed
        var found = BytesChecker.Check(run.Storage.Content);
        Assert.True(found.Errors == 0, found.Errors == 0 ? "" : found.Findings[0].Message);
        Assert.True(!allThere || found.Leaks == 0, $"{found.Leaks} leaks after a close without errors");
        using var again = new OneImage(run.Storage.Content);
        Assert.Equal((0, 0), (again.Expect(4 << 20, 64 * Cluster, 3), again.Expect(32 * Cluster, 32 * Cluster, 1)));
        if (allThere)
        {
            Assert.Equal((0, 0, 0),
                (again.Expect(8 << 20, 64 * Cluster, 4), again.Expect(0, 32 * Cluster, 0), again.Expect(1 << 20, 8 * Cluster, 0)));
        }
    }
}
