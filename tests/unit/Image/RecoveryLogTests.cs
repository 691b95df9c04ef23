using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>What leaves the log is what a commit has brought to the file: no more, however commits and requests meet.</summary>
public sealed class RecoveryLogTests : IDisposable
{
    private const int EIO = 5;
    private const int Cluster = 65536;

    private static readonly SparseBytes s_image = OneImage.Make("cluster_size=65536", "64M", "write -P 1 0 1M");

    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void Record_appended_while_a_commit_runs_stays()
    {
        using var log = Create();
        Append(log, 1, 11);
        log.Capture();
        Append(log, 2, 22);
        Assert.Equal(2, Records(log).Length);
        log.Captured(succeeded: true);

        Assert.Equal([(2L, 22UL)], Records(log));
        Assert.Equal(1, log.Count);
    }

    [Fact]
    public void Commit_that_failed_drops_nothing()
    {
        using var log = Create();
        Append(log, 1, 11);
        log.Capture();
        Append(log, 1, 12);
        log.Captured(succeeded: false);
        Assert.Equal([(1L, 12UL)], Records(log));
        Assert.Equal(2, log.Count);

        // The next one covers both.
        log.Capture();
        log.Captured(succeeded: true);
        Assert.Equal((0, false), (log.Count, RecoveryLog.HasRecords(log.Path)));
    }

    [Fact]
    public void Commit_in_the_middle_of_a_replay_drops_nothing()
    {
        using var log = Create();
        Append(log, 1, 11);
        Append(log, 2, 22);
        log.IsReplaying = true;
        Append(log, 1, 11);
        Assert.Equal(2, log.Count);
        log.Capture();
        log.Captured(succeeded: true);
        Assert.Equal(2, log.Count);

        log.IsReplaying = false;
        log.Capture();
        log.Captured(succeeded: true);
        Assert.Equal(0, log.Count);
    }

    [Fact]
    public void Log_that_overflowed_says_so_until_a_commit_covers_all_that_was_dropped()
    {
        using var log = Create();
        for (var record = 0; record <= RecoveryLog.Capacity; record++)
            Append(log, record, 1);
        log.Capture();
        log.Captured(succeeded: false);
        Append(log, 0, 2);
        log.Capture();
        Append(log, 1, 2); // dropped again
        log.Captured(succeeded: true);
        Assert.Equal((0, true), (log.Count, RecoveryLog.HasRecords(log.Path)));

        log.Capture();
        log.Captured(succeeded: true);
        Assert.False(RecoveryLog.HasRecords(log.Path));
    }

    [Fact]
    public void Last_value_of_an_entry_is_the_one_that_counts()
    {
        using var log = Create();
        for (ulong value = 1; value <= 3; value++)
            Append(log, 7, value);

        Assert.Equal([(7L, 3UL)], Records(log));
    }

    /// <summary>
    /// The server is killed at every step from the begin of a flush until well after it; others change the mapping all the while, of
    /// clusters that the flush is about to bring to the file too.
    /// </summary>
    [Fact]
    public void Write_that_was_answered_during_a_commit_is_not_lost_with_the_server()
    {
        var duringCommit = 0;
        for (var steps = 0; steps < 60; steps++)
        {
            var path = _directory.File($"{steps}.log");
            using var run = new OneImage(s_image.Copy(), seed: steps + 1, options: new ImageOptions { RecoveryLog = path });
            Assert.Equal(0, run.Write(8 << 20, 4 * Cluster, 2));
            var flush = run.Image.FlushAsync();
            var write = run.WriteAsync(16 << 20, Cluster, 3);
            var zero = run.Image.WriteZeroesAsync(8 << 20, Cluster, ZeroFlags.MayUnmap);
            while (!write.IsCompleted || !zero.IsCompleted)
                run.Loop.Step();
            duringCommit += flush.IsCompleted ? 0 : 1;
            for (var step = 0; step < steps; step++)
                run.Loop.Step();

            using (var next = Recover(run, path))
            {
                Assert.Equal((0, 0, 0),
                    (next.Expect(16 << 20, Cluster, 3), next.Expect(8 << 20, Cluster, 0),
                        next.Expect((8 << 20) + Cluster, 3 * Cluster, 2)));
                next.Close();
            }

            Assert.Equal((0, 0), (run.Loop.RunUntilComplete(write), run.Loop.RunUntilComplete(zero)));
            Assert.Equal(0, run.Loop.RunUntilComplete(flush));
            run.Close();
            Assert.False(RecoveryLog.HasRecords(path), "a log of what is all in the file");
        }

        Assert.NotEqual(0, duringCommit);
    }

    [Theory]
    [InlineData(StorageOperationKind.Write)]
    [InlineData(StorageOperationKind.Flush)]
    public void Failed_commit_leaves_all_in_the_log(StorageOperationKind failing)
    {
        for (var which = 0; which < 3; which++)
        {
            var path = _directory.File($"{failing}{which}.log");
            using var run = new OneImage(s_image.Copy(), options: new ImageOptions { RecoveryLog = path });
            Assert.Equal(0, run.Write(8 << 20, 4 * Cluster, 2));
            var count = 0;
            run.Storage.Fault = operation => operation.Kind == failing && count++ == which ? EIO : 0;
            if (run.Flush() == 0)
                return;

            using var next = Recover(run, path);

            Assert.Equal(0, next.Expect(8 << 20, 4 * Cluster, 2));
            next.Close();
        }
    }

    private static void Append(RecoveryLog log, long cluster, ulong raw) =>
        log.Append(new GuestCluster(cluster), old: default, new StoredL2Entry(raw), default);

    /// <summary>What each guest cluster's entry became last.</summary>
    private static (long, ulong)[] Records(RecoveryLog log)
    {
        var records = new SortedDictionary<long, ulong>();
        for (var at = log.Header.Start; at != log.Header.End; at++)
            records[log[at].Index] = log[at].New.Descriptor;
        return [.. records.Select(record => (record.Key, record.Value))];
    }

    private RecoveryLog Create() => RecoveryLog.Create(_directory.File("log"), default);

    /// <summary>What the next server makes of image and log as they are now.</summary>
    private OneImage Recover(OneImage run, string path) =>
        new(run.Storage.Content.Copy(), options: new ImageOptions { RecoveryLog = Copy(path), Replay = true });

    private string Copy(string path)
    {
        var copy = _directory.File("copy.log");
        File.Copy(path, copy, overwrite: true);
        return copy;
    }
}
