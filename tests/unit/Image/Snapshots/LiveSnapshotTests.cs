using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image.Snapshots;

/// <summary>A snapshot that is counted while the disk is written holds what was there at its first moment, whatever happens then.</summary>
public sealed class LiveSnapshotTests : IDisposable
{
    private const int DiskBytes = 8 << 20;

    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    public static TheoryData<string, int> Shapes => new()
    {
        { "cluster_size=4k", 1 },
        { "cluster_size=512", 2 },
        { "compat=0.10", 3 },
        { "extended_l2=on,cluster_size=16k", 4 },
        { "cluster_size=8k,refcount_bits=8", 5 },
        { "cluster_size=4k,preallocation=metadata", 6 },
    };

    [Theory]
    [MemberData(nameof(Shapes))]
    public void It_is_of_its_first_moment_and_nothing_leaks(string options, int seed)
    {
        using var guest = new WritingGuest(SnapshotScene.Make(options), seed);
        for (var round = 0; round < 3; round++)
        {
            guest.Snapshot($"s{round}").MustSucceed();
            Assert.True(guest.WritesMeanwhile > 3, $"{guest.WritesMeanwhile} writes while it was counted");
        }

        guest.One.CloseClean(_directory.File("image.qcow2"));
        guest.AssertHolds(guest.One.Storage.Content);
    }

    [Trait("Speed", "slow")]
    [Theory]
    [MemberData(nameof(Shapes))]
    public void Power_that_goes_leaves_it_there_or_not(string options, int seed)
    {
        using var guest = new WritingGuest(SnapshotScene.Make(options), seed);
        guest.Snapshot("before").MustSucceed();
        guest.One.Loop.RunUntilIdle();
        Assert.Equal(0, guest.One.Flush());
        guest.One.Loop.RunUntilIdle();
        var before = guest.One.Storage.Content.Copy();
        var log = guest.One.Storage.Log = new StorageLog();
        guest.ForgetValues();
        guest.Snapshot("new").MustSucceed();
        Assert.Equal(0, guest.One.Loop.Run(guest.One.Image.CloseAsync));
        var crash = new CrashImage(before, log);
        var random = new Random(seed);
        var done = 0;
        const int cuts = 10;
        foreach (var tick in Enumerable.Range(0, cuts).Select(_ => random.NextInt64(log.Tick + 1)).Append(log.Tick).Order())
        {
            crash.AdvanceTo(tick);
            crash.Cut(random);
            var found = crash.ToSparseBytes();
            crash.Restore();
            Assert.Empty(SnapshotScene.RealErrors(BytesChecker.Check(found)).Select(error => $"{tick}: {error.Message}"));
            guest.AssertHolds(found, mayBeOlder: true);
            done += new GuestReader(found).Snapshots().Count - 1;

            // Who writes now must not write over what a snapshot has.
            var written = SnapshotPowerCutTests.WriteAll(found, DiskBytes);
            guest.AssertKept(written);
        }

        Assert.InRange(done, 1, cuts);
    }

    [Trait("Speed", "slow")]
    [Theory]
    [MemberData(nameof(Shapes))]
    public void Killed_at_any_write_the_log_has_what_was_answered(string options, int seed)
    {
        var path = _directory.File("live.log");
        using var guest = new WritingGuest(SnapshotScene.Make(options), seed, new ImageOptions { RecoveryLog = path }) { Flushes = false };
        guest.Snapshot("before").MustSucceed();
        var (writes, judged) = (0, 0);
        guest.WhileCounting = () => guest.One.Storage.Fault = operation =>
        {
            if (operation.Kind != StorageOperationKind.Read && ++writes % 10 == 0 && judged < 12)
            {
                var scene = guest.Scene(path);
                NextServer.Elsewhere(() => Judge(guest, scene, writes));
                judged++;
            }

            return 0;
        };
        guest.Snapshot("new").MustSucceed();
        Assert.True(judged > 2, $"{judged} kills");
        guest.One.CloseClean(_directory.File("image.qcow2"));
    }

    [Theory]
    [InlineData("cluster_size=4k", 1)]
    [InlineData("cluster_size=4k", 4)]
    [InlineData("cluster_size=4k", 9)]
    [InlineData("cluster_size=512", 12)]
    [InlineData("cluster_size=512", 30)]
    [InlineData("extended_l2=on,cluster_size=16k", 5)]
    public void What_fails_is_taken_back(string options, int failing)
    {
        using var guest = new WritingGuest(SnapshotScene.Make(options), failing, report: _ => { }) { Flushes = false };
        guest.Snapshot("kept").MustSucceed();
        var left = failing;
        guest.WhileCounting = () => guest.One.Storage.Fault = operation =>
            operation is { Kind: StorageOperationKind.Write, Length: < 100 << 10 } && !guest.IsWriting && --left == 0 ? 28 : 0;
        var answer = guest.Snapshot("lost");
        guest.One.CloseClean(_directory.File("image.qcow2"));
        Assert.Equal(answer.Succeeded ? 2 : 1, new GuestReader(guest.One.Storage.Content).Snapshots().Count);
        guest.AssertHolds(guest.One.Storage.Content);
    }

    [Theory]
    [InlineData("cluster_size=4k")]
    [InlineData("extended_l2=on,cluster_size=16k")]
    public void What_is_canceled_leaves_nothing(string options)
    {
        using var guest = new WritingGuest(SnapshotScene.Make(options), 3);
        guest.Snapshot("kept").MustSucceed();
        guest.WhileCounting = () => guest.Steps!.Cancel();
        Assert.False(guest.Snapshot("canceled").Succeeded);
        guest.WhileCounting = null;
        guest.Snapshot("next").MustSucceed();
        guest.One.CloseClean(_directory.File("image.qcow2"));
        Assert.Equal(2, new GuestReader(guest.One.Storage.Content).Snapshots().Count);
        guest.AssertHolds(guest.One.Storage.Content);
    }

    [Fact]
    public void A_close_does_not_wait_for_the_count_and_leaves_nothing()
    {
        using var one = new OneImage(SnapshotScene.Make("cluster_size=512"));
        var steps = one.Image.NewSnapshot("never", SnapshotScene.Taken);
        one.Loop.RunUntilComplete(steps.BeginAsync()).MustSucceed();
        EditAnswer worked = default;
        EditAnswer other = default;
        one.Loop.Run(async () =>
        {
            var group = TaskGroup.Rent();
            group.Add(WorkAsync());
            other = await one.Image.EditAsync(() => new LoopTask<EditAnswer>(EditAnswer.Done));
            group.Add(one.Image.CloseAsync());
            return await group.WaitAsync();
        });
        Assert.Equal(EditResult.Busy, other.Result);
        Assert.False(worked.Succeeded);
        Assert.False(one.Loop.RunUntilComplete(steps.EndAsync()).Succeeded);
        Assert.True(BytesChecker.Check(one.Storage.Content).IsClean);
        Assert.Empty(new GuestReader(one.Storage.Content).Snapshots());

        async LoopTask<int> WorkAsync()
        {
            worked = await steps.WorkAsync();
            return 0;
        }
    }

    private void Judge(WritingGuest guest, KilledScene scene, int writes)
    {
        var log = SavedLog.Save(_directory, scene.Log);
        using var loop = new SimulatedLoop(writes);
        var content = scene.Content.Copy();
        var storage = new MemoryStorage(loop, content);
        loop.Run(async () =>
        {
            var image = await Qcow2Image.OpenAsync(storage, new ImageOptions { RecoveryLog = log, Replay = true }, null);
            using var buffer = new TableBuffer(DiskBytes);
            Assert.Equal(0, await image.ReadAsync(0, buffer.Take(DiskBytes)));
            var wrong = scene.Judge(buffer.Span);
            Assert.True(wrong is null, $"write {writes}: {wrong}");
            return await image.CloseAsync();
        });
        File.Delete(log);
        Assert.Empty(SnapshotScene.RealErrors(BytesChecker.Check(content)).Select(error => $"write {writes}: {error.Message}"));
        guest.AssertKept(SnapshotPowerCutTests.WriteAll(content, DiskBytes));
    }
}
