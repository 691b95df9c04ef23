using System;
using System.Collections.Generic;
using System.IO;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Tests.Image.Model;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>
/// Nobody touched the image: whatever the moment of the kill, in the middle of a commit, of its own replay too, the log
/// proves itself and everything answered is there.
/// </summary>
public sealed class ReplayMomentTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Trait("Speed", "slow")]
    [Theory]
    [InlineData("version 2, clusters of 512")]
    [InlineData("clusters of 512, refcounts of 64 bits")]
    [InlineData("clusters of 1024, refcounts of 2 bits")]
    [InlineData("clusters of 4096, refcounts of 8 bits")]
    [InlineData("zlib with snapshot")]
    [InlineData("over two bases")]
    [InlineData("clusters of 65536")]
    public void Killed_at_every_write_of_a_server_the_log_is_replayed(string name)
    {
        var subject = ModelImage.Get(name);
        new KilledServer(subject, seed: name.Length, _directory).Run(requests: 20, server => NextServer.Elsewhere(() =>
        {
            var scene = server.Scene();
            var log = SavedLog.Save(_directory, scene.Log);
            At($"write {server.Writes}", () => NextServer.Recover(subject, scene, log));
            File.Delete(log);
        }));
    }

    [Theory]
    [InlineData("version 2, clusters of 512")]
    [InlineData("clusters of 512, refcounts of 64 bits")]
    [InlineData("zlib with snapshot")]
    [InlineData("clusters of 65536 with snapshot")]
    public void Killed_at_every_write_of_a_replay_the_log_is_replayed_again(string name)
    {
        var subject = ModelImage.Get(name);
        for (var seed = 1; seed <= 2; seed++)
        {
            var scene = Killed(subject, seed, _directory);
            var log = SavedLog.Save(_directory, scene.Log);
            var writes = 0;
            NextServer.Recover(subject, scene, log, content =>
            {
                var halfway = scene with { Content = content.Copy(), Log = SavedLog.Read(log) };
                writes++;
                NextServer.Elsewhere(() => At($"seed {seed}, write {writes} of the replay",
                    () => NextServer.Recover(subject, halfway, SavedLog.Save(_directory, halfway.Log))));
            });
            Assert.NotEqual(0, writes);
        }
    }

    [Fact]
    public void Killed_in_a_replay_that_had_to_commit_before_its_end_the_log_is_replayed_again()
    {
        // More refcounts and entries than the small cache of the next server holds.
        const int length = 6 << 20;
        var path = _directory.File("large.log");
        using var run = new OneImage(OneImage.Make("cluster_size=512,refcount_bits=64", "16M"),
            options: new ImageOptions { RecoveryLog = path });
        Assert.Equal(0, run.Write(0, length, 5));
        var options = new ImageOptions
        {
            RecoveryLog = SavedLog.Save(_directory, SavedLog.Read(path)),
            Replay = true,
            CacheBytes = 1 << 14
        };
        var halfway = new List<(SparseBytes Content, byte[] Log)>();
        using var loop = new SimulatedLoop(1);
        var storage = new MemoryStorage(loop, run.Storage.Content.Copy());
        var writes = 0;
        storage.Fault = operation =>
        {
            if (operation.Kind != StorageOperationKind.Read && ++writes % 100 == 0)
                halfway.Add((storage.Content.Copy(), SavedLog.Read(options.RecoveryLog)));
            return 0;
        };
        loop.Run(async () => await (await Qcow2Image.OpenAsync(storage, options, null)).CloseAsync());
        Assert.True(halfway.Count > 3);
        foreach (var (content, log) in halfway)
        {
            using var next = new OneImage(content, options: options with { RecoveryLog = SavedLog.Save(_directory, log) });
            Assert.Equal(0, next.Expect(0, length, 5));
            next.Close();
        }
    }

    /// <summary>What a kill at some write leaves; something is in the log.</summary>
    internal static KilledScene Killed(ModelImage subject, int seed, TempDirectory directory)
    {
        KilledScene? scene = null;
        var moment = new Random(seed).Next(20, 60);
        new KilledServer(subject, seed, directory).Run(requests: 40, server =>
        {
            // At that moment, or as near to it as can be.
            if ((scene is null || server.Writes <= moment) && server.HasRecords)
                scene = server.Scene();
        });
        return scene ?? throw new InvalidOperationException($"seed {seed} leaves nothing in the log");
    }

    private static void At(string moment, Action check)
    {
        try
        {
            check();
        }
        catch (Exception error)
        {
            throw new InvalidOperationException($"{moment}: {error.Message}", error);
        }
    }
}
