using System.Collections.Generic;
using System.Linq;
using System.Threading;
using Qcow2Blk.Exports.Traffic;
using Xunit;

namespace Qcow2Blk.Tests.Exports.Traffic;

public sealed class TraceRingTests
{
    [Fact]
    public void What_finds_no_room_is_counted_and_later_ones_are_told_again()
    {
        var ring = new TraceRing(4);
        var taken = new List<TraceRecord>();
        for (var i = 0; i < 7; i++)
            ring.Add(Record(i));
        ring.Take(taken);
        ring.Add(Record(7));
        ring.Take(taken);
        Assert.Equal([0, 1, 2, 3, 7], taken.Select(record => record.Offset));
        Assert.Equal(3, ring.Lost);
    }

    [Fact]
    public void A_reader_beside_the_loop_sees_whole_records_in_order_and_none_twice()
    {
        const int count = 2_000_000;
        var ring = new TraceRing(256);
        var loop = new Thread(() =>
        {
            for (var i = 0; i < count; i++)
                ring.Add(Record(i));
        });
        loop.Start();
        var taken = new List<TraceRecord>();
        var (seen, last) = (0L, -1L);
        for (var isOver = false; !isOver;)
        {
            isOver = !loop.IsAlive;
            ring.Take(taken);
            foreach (var record in taken)
            {
                Assert.True(record.Offset > last, $"{record.Offset} after {last}");
                Assert.Equal(record, Record(record.Offset));
                last = record.Offset;
            }

            seen += taken.Count;
            taken.Clear();
        }

        loop.Join();
        Assert.Equal(count, seen + ring.Lost);
    }

    [Fact]
    public void One_trace_at_a_time_and_the_next_after_its_end()
    {
        var trace = new RequestTrace();
        Assert.Null(trace.Session);
        var first = trace.TryBegin(2);
        Assert.NotNull(first);
        Assert.Null(trace.TryBegin(2));
        Assert.Same(first, trace.Session);
        trace.End(new TraceSession(2));
        Assert.Same(first, trace.Session);
        trace.End(first);
        Assert.Null(trace.Session);
        Assert.NotNull(trace.TryBegin(2));
    }

    [Fact]
    public void Records_of_all_loops_come_in_the_order_in_which_they_ended()
    {
        var session = new TraceSession(2);
        session.Add(Record(0) with { Started = 10, Ticks = 100 });
        session.Add(Record(1) with { Started = 50, Ticks = 10, Loop = 1 });
        session.Add(Record(2) with { Started = 20, Ticks = 95, Loop = 1 });
        Assert.Equal([1, 0, 2], session.Take().Select(record => record.Offset));
        Assert.Empty(session.Take());
    }

    private static TraceRecord Record(long i) => new(
        (RequestOperation)(i % 3), RequestWay.Direct, RequestWaits.None, 0, (int)(i % 7), i, i * 3, i * 5, i * 11);
}
