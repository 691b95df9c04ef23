using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Interop;
using Qcow2Blk.Remote.Cache;
using Qcow2Blk.Tests.Remote.Cache;
using Xunit;

namespace Qcow2Blk.Tests.Crash;

/// <summary>
/// The power goes while chunks of a base are stored and removed: each page of either file of the cache is left as it was at any moment
/// since, independently of all others, and its label, which is synced before it takes its place, is one that there was. Whatever is read
/// afterwards is what the source holds, and the entry is not made anew. QCOW2BLK_CRASH_SEED=n runs one workload;
/// QCOW2BLK_CRASH_SEEDS=n sets how many.
/// </summary>
public sealed class CachePowerCutTests(ITestOutputHelper output)
{
    private const int Workloads = 40;
    private const int CutsPerWorkload = 12;
    private const int Steps = 24;
    private const int Page = 4096;
    private const int Chunks = 9;

    private const string Label = "meta.json";

    private static readonly string[] s_files = ["data", "map", Label];

    [Trait("Speed", "slow")]
    [Fact]
    public void What_is_read_after_any_power_cut_is_what_the_source_holds()
    {
        var only = Environment.GetEnvironmentVariable("QCOW2BLK_CRASH_SEED");
        var count = int.Parse(Environment.GetEnvironmentVariable("QCOW2BLK_CRASH_SEEDS") ?? $"{Workloads}");
        int[] seeds = only is null ? [.. Enumerable.Range(1, count)] : [int.Parse(only)];
        var tally = new Tally();
        foreach (var seed in seeds)
        {
            try
            {
                RunSeed(seed, tally);
            }
            catch (Exception error)
            {
                Assert.Fail($"QCOW2BLK_CRASH_SEED={seed}: {(error is Xunit.Sdk.XunitException ? error.Message : error)}");
            }
        }

        output.WriteLine($"{tally.Cuts} power cuts: {tally.Right} chunks were right, {tally.Gone} not there,"
            + $" {tally.Caught} caught by their checksum");
        Assert.True(only is not null || (tally.Right > 0 && tally.Gone > 0 && tally.Caught > 0), "the cuts show nothing");
    }

    private static void RunSeed(int seed, Tally tally)
    {
        var random = new Random(seed);
        using var scene = new CacheScene((Chunks * (long)CacheScene.ChunkBytes) - 12345);
        var history = Work(scene, random);
        for (var cut = 0; cut < CutsPerWorkload; cut++)
        {
            var first = random.Next(history.Count);
            var last = random.Next(first, history.Count);
            foreach (var file in s_files)
                File.WriteAllBytes(Path.Combine(scene.Entry, file), Mix(history, file, first, last, random));
            if (random.Next(3) == 0)
                File.WriteAllBytes(Path.Combine(scene.Entry, Label + ".new"), new byte[random.Next(100)]);
            tally.Cuts++;
            Check(scene, random, tally);
        }
    }

    /// <summary>Stores and removes chunks.</summary>
    /// <returns>the files as they were after each step</returns>
    private static List<Dictionary<string, byte[]>> Work(CacheScene scene, Random random)
    {
        var history = new List<Dictionary<string, byte[]>>();
        using var cache = scene.Open();
        for (var step = 0; step < Steps; step++)
        {
            if (random.Next(6) == 0)
                Confirm(scene);
            history.Add(s_files.ToDictionary(file => file, file => File.ReadAllBytes(Path.Combine(scene.Entry, file))));
            if (random.Next(6) == 0)
                Evict(scene);
            var chunk = random.Next(Chunks);
            if (scene.Claim(cache, chunk) == 1)
                Assert.Equal(1, scene.Store(cache, chunk, pin: random.Next(8) == 0));
        }

        return history;
    }

    /// <summary>Another server begins to use the entry, and notes that the source still has this version.</summary>
    private static void Confirm(CacheScene scene)
    {
        scene.Clock.Advance(TimeSpan.FromHours(1));
        scene.Open().Dispose();
    }

    private static byte[] Mix(List<Dictionary<string, byte[]>> history, string file, int first, int last, Random random)
    {
        if (file == Label)
            return history[random.Next(first, last + 1)][file];
        var mixed = (byte[])history[last][file].Clone();
        for (var offset = 0; offset < mixed.Length; offset += Page)
        {
            var length = Math.Min(Page, mixed.Length - offset);
            history[random.Next(first, last + 1)][file].AsSpan(offset, length).CopyTo(mixed.AsSpan(offset));
        }

        return mixed;
    }

    private static void Check(CacheScene scene, Random random, Tally tally)
    {
        var data = Path.Combine(scene.Entry, "data");
        Assert.Equal(0, Stat.OfPath(data, out var before));
        using var cache = scene.Open();
        Assert.Equal(0, Stat.OfPath(data, out var after));
        Assert.True(before.SameFileAs(after), "the entry was made anew");
        for (var round = 0; round < 2; round++)
        {
            for (var chunk = 0; chunk < Chunks; chunk++)
            {
                var isSaid = cache.IsStored(chunk);
                var isThere = scene.Has(cache, chunk);
                tally.Right += isThere ? 1 : 0;
                tally.Gone += isSaid ? 0 : 1;
                tally.Caught += isSaid && !isThere ? 1 : 0;
                Assert.True(isThere || !cache.IsThere(chunk * (long)CacheScene.ChunkBytes, 1, out _), $"chunk {chunk} is there and is not");
                if (!isThere && random.Next(2) == 0 && scene.Claim(cache, chunk) == 1)
                {
                    Assert.Equal(1, scene.Store(cache, chunk));
                    Assert.True(scene.Has(cache, chunk));
                }
            }

            if (round == 0 && random.Next(2) == 0)
                Evict(scene);
        }
    }

    private static void Evict(CacheScene scene)
    {
        using var maker = new RoomMaker(scene.Settings) { Target = -1, UsedBefore = long.MaxValue };
        int result;
        do
            result = maker.Execute();
        while (result == 1);
        Assert.Equal(0, result);
    }

    private sealed class Tally
    {
        public int Cuts { get; set; }

        public int Right { get; set; }

        public int Gone { get; set; }

        public int Caught { get; set; }
    }
}
