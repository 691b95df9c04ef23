using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.InteropServices;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Embedding;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Embedding;

/// <summary>
/// Threads of a program that do their own transfers beside the loop that allocates, frees, evicts and commits: each sees what it
/// wrote, and never what another one has in a cluster that was freed and given out again.
/// </summary>
public sealed class ManyThreadsTests
{
    private const int Threads = 6;
    private const int ClusterBytes = 512;
    private const int Clusters = 6000;

    [Theory]
    [InlineData("none")]
    [InlineData("writeback")]
    public async Task Threads_see_what_they_wrote_while_clusters_are_freed_and_given_out_again(string cache)
    {
        // Small clusters make many tables, more than the smallest cache holds.
        using var scene = new EmbeddedScene("16M", $"cluster_size={ClusterBytes}", ("cache-size", "1M"), ("cache", cache));
        var image = scene.Open();
        var end = Environment.TickCount64 + 1500;
        var wrong = await Task.WhenAll(Enumerable.Range(0, Threads).Select(thread => Task.Factory.StartNew(
            () => Work(image, thread, end), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)));
        Assert.Equal("", string.Join("\n", scene.Errors.Concat(wrong.SelectMany(found => found))));
        Assert.Equal(0, scene.Close());
        QemuImg.Check(scene.Path);
    }

    /// <summary>One thread has every sixth cluster after the first MiB, and knows what is in each.</summary>
    private static unsafe List<string> Work(OpenImage image, int thread, long end)
    {
        var random = new Random(thread);
        var memory = (byte*)NativeMemory.AlignedAlloc(4096, 4096);
        var buffer = new Span<byte>(memory, ClusterBytes);
        var known = new byte[Clusters];
        var wrong = new List<string>();
        while (Environment.TickCount64 < end && wrong.Count == 0)
        {
            var mine = random.Next(Clusters / Threads) * Threads + thread;
            var offset = (2L << 20) + (mine * ClusterBytes);
            switch (random.Next(10))
            {
                case < 4:
                    known[mine] = (byte)(1 + (thread * 40) + random.Next(40));
                    buffer.Fill(known[mine]);
                    Must(image, RequestKind.Write, (nint)memory, offset, ClusterBytes, wrong);
                    break;
                case < 6:
                    known[mine] = 0;
                    Must(image, RequestKind.Discard, 0, offset, ClusterBytes, wrong);
                    break;
                case 6 when random.Next(20) == 0:
                    Must(image, RequestKind.Flush, 0, 0, 0, wrong);
                    break;
                default:
                    Must(image, RequestKind.Read, (nint)memory, offset, ClusterBytes, wrong);
                    if (buffer.ContainsAnyExcept(known[mine]))
                        wrong.Add($"thread {thread}, cluster {mine}: {known[mine]} was written and {buffer[0]} is there");
                    break;
            }
        }

        NativeMemory.AlignedFree(memory);
        return wrong;
    }

    private static void Must(OpenImage image, RequestKind kind, nint address, long offset, long length, List<string> wrong)
    {
        var result = image.Execute(new RequestShape(kind, address, offset, length, RequestFlags.None));
        if (result < 0)
            wrong.Add($"{kind} at {offset}: {result}");
    }
}
