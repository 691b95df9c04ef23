using System;
using Qcow2Blk.Storage;
using Qcow2Blk.Tests.Image.Model;
using Qcow2Blk.Tests.Shared;
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
        for (var seed = 1; seed <= 2; seed++)
        {
            new KilledServer(subject, seed, _directory).Run(requests: 20, server => NextServer.Elsewhere(() =>
            {
                var scene = server.Scene();
                var log = SavedLog.Save(_directory, scene.Log);
                At($"seed {seed}, write {server.Writes}", () => NextServer.Recover(subject, scene, log));
                System.IO.File.Delete(log);
            }));
        }
    }

    [Theory]
    [InlineData("version 2, clusters of 512")]
    [InlineData("clusters of 512, refcounts of 64 bits")]
    [InlineData("zlib with snapshot")]
    [InlineData("clusters of 65536 with snapshot")]
    public void Killed_at_every_write_of_a_replay_the_log_is_replayed_again(string name)
    {
        var subject = ModelImage.Get(name);
        for (var seed = 1; seed <= 3; seed++)
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
