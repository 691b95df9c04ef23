using System;
using System.Collections.Generic;
using System.Linq;
using System.Text.Json;
using Qcow2Blk.Image;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image.Snapshots;

/// <summary>
/// The power goes at any moment of what is done with checkpoints: then there is a whole one, snapshot, frozen bitmap and the next one, or
/// none, no bitmap lacks a bit, and what is written afterwards changes no point in time.
/// </summary>
public sealed class CheckpointPowerCutTests
{
    [Theory]
    [InlineData("compat=1.1", 1)]
    [InlineData("cluster_size=4k", 2)]
    [InlineData("extended_l2=on,cluster_size=16k", 3)]
    public void First_one_is_there_or_not(string options, int seed) => Cut(options, seed, [], one => one.CreateCheckpoint("a"));

    [Theory]
    [InlineData("compat=1.1", 1)]
    [InlineData("cluster_size=4k", 2)]
    [InlineData("cluster_size=8k,refcount_bits=8", 3)]
    public void Next_one_is_there_or_not(string options, int seed) => Cut(options, seed, ["a", "b"], one => one.CreateCheckpoint("c"));

    [Theory]
    [InlineData("compat=1.1", "a", 1)]
    [InlineData("compat=1.1", "b", 2)]
    [InlineData("cluster_size=4k", "c", 3)]
    public void One_of_three_is_deleted_or_not(string options, string name, int seed) =>
        Cut(options, seed, ["a", "b", "c"], one => one.DeleteCheckpoint(name));

    [Fact]
    public void Only_one_is_deleted_or_not() => Cut("compat=1.1", 5, ["a"], one => one.DeleteCheckpoint("a"));

    private static void Cut(string options, int seed, string[] before, Func<OneImage, EditAnswer> edit)
    {
        using var one = new OneImage(SnapshotScene.Make(options), seed: seed);
        for (var i = 0; i < before.Length; i++)
        {
            one.CreateCheckpoint(before[i]).MustSucceed();
            Assert.Equal(0, one.Write((2 * i) << 20, 128 << 10, (byte)(0x41 + i)));
        }

        Assert.Equal(0, one.Flush());
        one.Loop.RunUntilIdle();
        var start = one.Storage.Content.Copy();
        var old = State.Of(start) with { Dirty = State.DirtyOf(one) };
        var log = one.Storage.Log = new StorageLog();
        edit(one).MustSucceed();
        Assert.Equal(0, one.Loop.Run(one.Image.CloseAsync));
        var next = State.Of(one.Storage.Content);
        Assert.NotEqual(old.Names, next.Names);

        var crash = new CrashImage(start, log);
        var random = new Random(seed);
        var (done, undone) = (0, 0);
        for (long tick = 0; tick <= log.Tick; tick += 2)
        {
            crash.AdvanceTo(tick);
            crash.Cut(random);
            var found = crash.ToSparseBytes();
            crash.Restore();
            var state = State.Of(found);
            Assert.Empty(SnapshotScene.RealErrors(BytesChecker.Check(found)).Select(error => $"{tick}: {error.Message}"));
            Assert.True(state.Names == old.Names || state.Names == next.Names, $"{tick}: there is {state.Names}");
            state.MustHold(state.Names == old.Names ? old : next, $"{tick}");
            (done, undone) = state.Names == old.Names ? (done, undone + 1) : (done + 1, undone);
            if (tick % 16 != 0)
                continue;
            WriteAll(found);
            State.Of(found).MustHoldPoints(state, $"{tick}: after writes");
        }

        Assert.True(done > 0 && undone > 0, $"{done} done, {undone} not");
    }

    private static void WriteAll(SparseBytes bytes)
    {
        using var one = new OneImage(bytes);
        for (var offset = 0; offset < 8 << 20; offset += 1 << 20)
            Assert.Equal(0, one.Write(offset, 1 << 20, 0x99));
        Assert.Equal(0, one.Loop.Run(one.Image.CloseAsync));
    }

    /// <summary>What an image has.</summary>
    /// <param name="Names">of snapshots and bitmaps, and which of these record</param>
    /// <param name="Dirty">bytes that are dirty, by bitmap</param>
    /// <param name="Active">the disk</param>
    /// <param name="Points">the disk as it was, by snapshot</param>
    private sealed record State(string Names, Dictionary<string, long> Dirty, byte[] Active, List<byte[]> Points)
    {
        public static State Of(SparseBytes bytes)
        {
            using var one = new OneImage(bytes.Copy());
            var snapshots = one.Loop.RunUntilComplete(one.Image.ListSnapshotsAsync());
            var bitmaps = Bitmaps(one);
            var names = string.Join(' ', snapshots.Select(snapshot => snapshot.Name)) + ": "
                + string.Join(' ', bitmaps.Select(bitmap => $"{bitmap.GetProperty("name")} {bitmap.GetProperty("state")}"));
            var reader = new GuestReader(bytes);
            return new State(names, DirtyOf(one), reader.ReadAll(), [.. reader.Snapshots().Select(snapshot => snapshot.ReadAll())]);
        }

        public static Dictionary<string, long> DirtyOf(OneImage one) => Bitmaps(one)
            .Where(bitmap => bitmap.TryGetProperty("dirty-bytes", out _))
            .ToDictionary(bitmap => bitmap.GetProperty("name").GetString()!, bitmap => bitmap.GetProperty("dirty-bytes").GetInt64());

        private static List<JsonElement> Bitmaps(OneImage one) => [.. JsonDocument
            .Parse(one.Loop.RunUntilComplete(one.Image.BitmapEditor.ListAsync()).Json!).RootElement.EnumerateArray()];

        public void MustHold(State expected, string when)
        {
            Assert.True(Active.AsSpan().SequenceEqual(expected.Active), $"{when}: the disk reads otherwise");
            MustHoldPoints(expected, when);
            foreach (var (name, bytes) in expected.Dirty)
            {
                var found = Dirty.GetValueOrDefault(name);
                Assert.True(found >= bytes, $"{when}: bitmap {name} has {found} of {bytes}");
            }
        }

        public void MustHoldPoints(State expected, string when)
        {
            Assert.Equal(expected.Points.Count, Points.Count);
            for (var i = 0; i < Points.Count; i++)
                Assert.True(Points[i].AsSpan().SequenceEqual(expected.Points[i]), $"{when}: point in time {i} is another one");
        }
    }
}
