using System;
using System.Diagnostics;
using System.Linq;
using System.Threading;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Bases;
using Qcow2Blk.Remote.Http;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Remote.Http;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Storage;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Bases;

/// <summary>One request of many hangs at a real web server: its reader does not wait for the timeout.</summary>
public sealed class StalledConnectionTests
{
    private const int Length = 1 << 20, Offset = 300_000, Count = 100_000;

    // Shorter than the timeout for the first byte: the stalled answer would be right, too, if anybody waited.
    private const int Stall = 8000;

    private static readonly byte[] s_bytes = SourceScene.Pattern(Length);

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    public void Read_takes_well_under_the_stall(bool hasHeader, bool hasMirror)
    {
        var stalls = 1;
        using var server = new HostileServer(request =>
        {
            var reply = HostileReply.Honest(request, s_bytes);
            if (request.Range.Start != Offset || Interlocked.Exchange(ref stalls, 0) == 0)
                return reply;
            return hasHeader ? reply with { StopAfter = 0, Stall = Stall } : reply with { Wait = Stall };
        });
        using var mirror = new HostileServer(request => HostileReply.Honest(request, s_bytes));
        using var loop = new LoopOfThisTest();
        var counters = new RemoteCounters();
        var (milliseconds, closing) = loop.Run(async () =>
        {
            var pool = new SourcePool(hasMirror ? [Source(server), Source(mirror)] : [Source(server)], null, null, counters, _ => { });
            Assert.Equal(0, await pool.OpenAsync(TimeSpan.FromSeconds(5)));
            var buffer = LoopScheduler.Current.Buffers.Rent(Count);
            var time = Stopwatch.StartNew();
            var (error, filled) = await pool.ReadAsync(0, Offset, buffer, () => true);
            var taken = time.ElapsedMilliseconds;
            Assert.Equal(0, error);
            Assert.True(s_bytes.AsSpan(Offset, Count).SequenceEqual(filled.Span));
            LoopScheduler.Current.Buffers.Return(filled);

            // Nothing of the stalled one is waited for.
            time.Restart();
            await pool.CloseAsync();
            return (taken, time.ElapsedMilliseconds);
        });

        Assert.InRange(milliseconds, (long)HedgeRule.First.TotalMilliseconds, Stall / 2);
        Assert.InRange(closing, 0, Stall / 4);
        Assert.Equal((1L, 1L), (counters.Hedges, counters.HedgeWins));
        Assert.Equal(hasMirror ? 1 : 2, server.Requests.Count(request => request.Range.Start == Offset));
        Assert.Equal(hasMirror ? 1 : 0, mirror.Requests.Count(request => request.Range.Start == Offset));
    }

    private static HttpSource Source(HostileServer server)
    {
        Assert.Null(RemoteLocation.Parse(server.Url(), out var location));
        Assert.Null(HttpSource.Create(location!, new RemoteSettings(), _ => { }, out var source));
        return source!;
    }
}
