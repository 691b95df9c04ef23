using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image.Snapshots;

/// <summary>
/// The power goes at any moment of what is done with snapshots: then it was done wholly or not at all, and nothing that is written
/// afterwards changes a snapshot.
/// </summary>
public sealed class SnapshotPowerCutTests
{
    private const int Cuts = 12;

    [Theory]
    [InlineData("cluster_size=4k", 1)]
    [InlineData("cluster_size=4k", 2)]
    [InlineData("compat=0.10", 3)]
    [InlineData("extended_l2=on,cluster_size=16k", 4)]
    [InlineData("cluster_size=8k,refcount_bits=8", 5)]
    public void Create_is_done_or_not(string options, int seed) =>
        Cut(options, seed, one => one.Create("new"), (_, active) => active);

    [Theory]
    [InlineData("cluster_size=4k", 1)]
    [InlineData("compat=0.10", 2)]
    [InlineData("extended_l2=on,cluster_size=16k", 3)]
    public void Delete_is_done_or_not(string options, int seed) =>
        Cut(options, seed, one => one.Delete("old"), (_, active) => active);

    [Theory]
    [InlineData("cluster_size=4k", 1)]
    [InlineData("compat=0.10", 2)]
    [InlineData("extended_l2=on,cluster_size=16k", 3)]
    public void Revert_is_done_or_not(string options, int seed) =>
        Cut(options, seed, one => one.Revert("old"), (old, _) => old);

    private static void Cut(string options, int seed, Func<OneImage, EditAnswer> edit, Func<byte[], byte[], byte[]> after)
    {
        using var one = new OneImage(SnapshotScene.Make(options), seed: seed);
        one.Create("old").MustSucceed();
        var old = new GuestReader(one.Storage.Content).ReadAll();
        Assert.Equal(0, one.Write(32 << 10, 100 << 10, 0x31));
        Assert.Equal(0, one.Write(5 << 20, 64 << 10, 0x32));
        Assert.Equal(0, one.Write(7 << 20, 64 << 10, 0x33));
        Assert.Equal(0, one.Flush());
        one.Loop.RunUntilIdle();
        var before = one.Storage.Content.Copy();
        var active = new GuestReader(before).ReadAll();
        var log = one.Storage.Log = new StorageLog();
        edit(one).MustSucceed();
        Assert.Equal(0, one.Loop.Run(one.Image.CloseAsync));

        var crash = new CrashImage(before, log);
        var random = new Random(seed);
        var done = 0;
        foreach (var tick in Enumerable.Range(0, Cuts).Select(_ => random.NextInt64(log.Tick + 1)).Append(log.Tick).Order())
        {
            crash.AdvanceTo(tick);
            crash.Cut(random);
            var found = crash.ToSparseBytes();
            crash.Restore();
            done += Judge(found, old, active, after(old, active), new GuestReader(before).Snapshots().Count, tick) ? 1 : 0;
        }

        Assert.InRange(done, 1, Cuts);
    }

    /// <returns>whether it was done</returns>
    private static bool Judge(SparseBytes crash, byte[] old, byte[] active, byte[] next, int snapshots, long tick)
    {
        Assert.Empty(SnapshotScene.RealErrors(BytesChecker.Check(crash)).Select(error => $"{tick}: {error.Message}"));
        var reader = new GuestReader(crash);
        var kept = reader.Snapshots();
        var now = reader.ReadAll();
        var isNew = kept.Count != snapshots || !now.AsSpan().SequenceEqual(active);
        Assert.True(now.AsSpan().SequenceEqual(isNew ? next : active), $"{tick}: the disk reads neither as before nor as after");
        var expected = new List<byte[]>();
        if (kept.Count > 0)
            expected.Add(old);
        if (kept.Count > 1)
            expected.Add(active);
        AssertKept(kept, expected, $"{tick}: as found");

        // Who writes now must not write over what a snapshot has.
        var written = WriteAll(crash, now.Length);
        AssertKept(new GuestReader(written).Snapshots(), expected, $"{tick}: after writes");
        Repair(written);
        Assert.True(BytesChecker.Check(written).IsClean, $"{tick}: not clean after a repair");
        AssertKept(new GuestReader(written).Snapshots(), expected, $"{tick}: after a repair");
        Assert.False(new GuestReader(written).ReadAll().AsSpan().Contains((byte)0), $"{tick}: not all that was written is there");
        return isNew;
    }

    private static void AssertKept(IReadOnlyList<GuestReader> snapshots, List<byte[]> expected, string when)
    {
        Assert.Equal(expected.Count, snapshots.Count);
        for (var i = 0; i < expected.Count; i++)
            Assert.True(snapshots[i].ReadAll().AsSpan().SequenceEqual(expected[i]), $"{when}: snapshot {i} is another one");
    }

    internal static SparseBytes WriteAll(SparseBytes bytes, int size)
    {
        using var one = new OneImage(bytes);
        for (var offset = 0; offset < size; offset += 1 << 20)
            Assert.Equal(0, one.Write(offset, 1 << 20, 0x99));
        Assert.Equal(0, one.Loop.Run(one.Image.CloseAsync));
        return one.Storage.Content;
    }

    private static void Repair(SparseBytes bytes)
    {
        using var loop = new SimulatedLoop(1);
        var storage = new MemoryStorage(loop, bytes);
        loop.Run(async () =>
        {
            var result = await ImageCheck.RunAsync(storage, CheckMode.All);
            return result.ReadError;
        });
    }
}
