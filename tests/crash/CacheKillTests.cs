using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Threading;
using Qcow2Blk.Remote.Cache;
using Qcow2Blk.Tests.Remote.Cache;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Crash;

/// <summary>
/// Several processes fill, read and empty one entry of a cache, and are killed at any moment. None of them, nor one that comes later,
/// ever reads what the source does not hold, and none keeps another waiting.
/// </summary>
public sealed class CacheKillTests(ITestOutputHelper output)
{
    private const string DirectoryVariable = "QCOW2BLK_TEST_CACHE";
    private const int Workers = 4;
    private const int Kills = 24;
    private const int Chunks = 40;

    // Started once more when it is done: a worker that is never killed ends by itself.
    private static readonly TimeSpan s_work = TimeSpan.FromSeconds(60);

    [Trait("Speed", "slow")]
    [Fact]
    public void A_killed_process_leaves_a_sound_cache()
    {
        using var place = new TempDirectory();
        var directory = place.File("cache");
        var random = new Random(5);
        var workers = new List<Process>();
        var kills = 0;
        try
        {
            while (kills < Kills)
            {
                while (workers.Count < Workers)
                    workers.Add(Start(directory));
                Thread.Sleep(random.Next(200, 700));
                var victim = workers[random.Next(workers.Count)];
                Assert.False(victim.HasExited, victim.HasExited ? victim.StandardOutput.ReadToEnd() : "");
                if (!HasBegun(directory, victim))
                    continue;
                victim.Kill();
                victim.WaitForExit();
                workers.Remove(victim);
                victim.Dispose();
                kills++;
            }
        }
        finally
        {
            foreach (var worker in workers)
            {
                worker.Kill();
                worker.WaitForExit();
                worker.Dispose();
            }
        }

        using var scene = SceneOf(directory);
        using var cache = scene.Open();
        var right = Enumerable.Range(0, Chunks).Count(chunk => scene.Has(cache, chunk));
        var wrong = Enumerable.Range(0, Chunks).Count(chunk => cache.IsStored(chunk) && !scene.Has(cache, chunk));
        output.WriteLine($"{kills} kills; {right} of {Chunks} chunks there");
        Assert.Equal(0, wrong);
        for (var chunk = 0; chunk < Chunks; chunk++)
        {
            if (scene.Claim(cache, chunk) == 1)
                Assert.Equal(1, scene.Store(cache, chunk));
            Assert.True(scene.Has(cache, chunk));
        }
    }

    /// <summary>What a worker does; the test above runs it in processes of its own.</summary>
    [Fact(Explicit = true)]
    public void Worker()
    {
        var directory = Environment.GetEnvironmentVariable(DirectoryVariable);
        Assert.SkipWhen(directory is null, "it is for processes that the other test starts");
        var random = new Random(Environment.ProcessId);
        using var scene = SceneOf(directory!);
        var end = Stopwatch.StartNew();
        var cache = scene.Open();
        for (var step = 0; end.Elapsed < s_work; step++)
        {
            if (step == 20)
                File.WriteAllText(BeganFile(directory!, Environment.ProcessId), "");
            var chunk = random.Next(Chunks);
            switch (random.Next(20))
            {
                case 0:
                    cache.Dispose();
                    cache = scene.Open();
                    break;
                case 1:
                    Empty(scene);
                    break;
                case < 10:
                    if (scene.Claim(cache, chunk) == 1)
                        _ = scene.Store(cache, chunk);
                    break;
                default:
                    _ = scene.Has(cache, chunk);
                    ReadDirectly(scene, cache, chunk);
                    break;
            }

            Assert.False(cache.IsGivenUp, string.Join('\n', scene.Reports));
        }

        cache.Dispose();
    }

    /// <summary>As the loops of an export do: straight from the file, if it is there before and after.</summary>
    private static void ReadDirectly(CacheScene scene, ChunkCache cache, long chunk)
    {
        var length = scene.Layout.BytesOf(chunk);
        var offset = chunk * CacheScene.ChunkBytes;
        if (!cache.IsThere(offset, length, out var mark))
            return;
        var bytes = scene.Run(async () =>
        {
            var buffer = Qcow2Blk.Scheduling.LoopScheduler.Current.Buffers.Rent(length);
            var result = await cache.File.ReadAsync(offset, buffer);
            var read = result == 0 ? buffer.Span.ToArray() : null;
            Qcow2Blk.Scheduling.LoopScheduler.Current.Buffers.Return(buffer);
            return read;
        });
        if (cache.IsStill(offset, length, mark))
            Assert.Equal(scene.BytesOf(chunk), bytes);
    }

    private static void Empty(CacheScene scene)
    {
        using var maker = new RoomMaker(scene.Settings) { Target = -1, UsedBefore = long.MaxValue };
        while (maker.Execute() == 1)
        {
            // A segment or an entry at a time.
        }
    }

    private static CacheScene SceneOf(string directory) => new((Chunks * (long)CacheScene.ChunkBytes) - 777, directory);

    private static string BeganFile(string directory, int process) => Path.Combine(Path.GetDirectoryName(directory)!, $"began.{process}");

    private static bool HasBegun(string directory, Process worker) => File.Exists(BeganFile(directory, worker.Id));

    private static Process Start(string directory)
    {
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true };
        foreach (var argument in (string[])[typeof(CacheKillTests).Assembly.Location, "-noColor", "-explicit", "only", "-method",
            $"{typeof(CacheKillTests).FullName}.{nameof(Worker)}"])
        {
            start.ArgumentList.Add(argument);
        }

        start.Environment[DirectoryVariable] = directory;
        return Process.Start(start)!;
    }
}
