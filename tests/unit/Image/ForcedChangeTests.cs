using System;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Storage;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>A write that was forced to the disk (FUA) is there after a power cut at the moment of its answer, whatever it took.</summary>
public sealed class ForcedChangeTests
{
    private const int Cluster = 65536;

    [Theory]
    [InlineData(0, Cluster)] // in place
    [InlineData(1 << 20, Cluster)] // needs a cluster
    [InlineData(32 << 20, Cluster)] // needs a table of its own
    [InlineData((1 << 20) + 100, 1000)]
    [InlineData(Cluster - 100, 1000)]
    public void Written_bytes(long offset, int length) => AssertLasts(offset, length, 7, How.Write, new ImageOptions());

    [Theory]
    [InlineData(DetectZeroes.Off)]
    [InlineData(DetectZeroes.On)]
    [InlineData(DetectZeroes.Unmap)]
    public void Written_zeroes(DetectZeroes detect) => AssertLasts(0, Cluster, 0, How.Write, new ImageOptions { DetectZeroes = detect });

    [Theory]
    [InlineData(0, 2 * Cluster)]
    [InlineData(1000, Cluster)]
    [InlineData(1000, 100)]
    public void Zeroed_range(long offset, int length) => AssertLasts(offset, length, 0, How.Zero, new ImageOptions());

    private enum How
    {
        Write,
        Zero,
    }

    private static void AssertLasts(long offset, int length, byte value, How how, ImageOptions options)
    {
        var before = OneImage.Make("cluster_size=65536", "64M", "write -P 1 0 512k");
        foreach (var alignment in new[] { 1, 512 })
        {
            using var run = new OneImage(before.Copy(), options: options, alignment: alignment);
            run.Storage.Log = new StorageLog();
            using var buffer = new TableBuffer(length);
            buffer.Span.Fill(value);
            Assert.Equal(0, run.Loop.RunUntilComplete(how == How.Write
                ? run.Image.WriteAsync(offset, buffer.Take(length), forceUnitAccess: true)
                : run.Image.WriteZeroesAsync(offset, length, ZeroFlags.MayUnmap | ZeroFlags.ForceUnitAccess)));

            // Only what completed syncs cover.
            var crash = new CrashImage(before, run.Storage.Log);
            crash.AdvanceTo(run.Storage.Log.Tick);

            var found = new byte[length];
            new GuestReader(crash).Read(offset, found);
            Assert.Equal(-1, found.AsSpan().IndexOfAnyExcept(value));
            Assert.Equal(0, ImageChecker.Check(crash).Errors);
            run.Close();
        }
    }
}
