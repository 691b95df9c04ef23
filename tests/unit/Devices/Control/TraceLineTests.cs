using System;
using System.Buffers;
using System.Diagnostics;
using System.Text;
using System.Text.Json;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Exports.Traffic;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Control;

public sealed class TraceLineTests
{
    [Fact]
    public void Every_member_survives_the_way()
    {
        var tick = Stopwatch.Frequency / 1_000_000;
        var record = new TraceRecord(RequestOperation.WriteZeroes, RequestWay.ZeroCopy, RequestWaits.Limit | RequestWaits.Space, 3, 28,
            1L << 40, 65536, 1000 * tick, 250 * tick);
        var lines = new ArrayBufferWriter<byte>();
        TraceLine.Write(lines, [record, record with { Error = 0, Waits = RequestWaits.None }], began: 400 * tick);
        TraceLine.WriteLost(lines, 12);

        var texts = Encoding.UTF8.GetString(lines.WrittenSpan).Split('\n');
        Assert.Equal(4, texts.Length);
        Assert.Equal("""{"time-ns":600000,"loop":3,"operation":"write-zeroes","offset":1099511627776,"length":65536"""
            + ""","way":"zero-copy","latency-ns":250000,"errno":28,"waited-for":["limit","space"]}""", texts[0]);
        var expected = record with { Started = 0, Ticks = 0 };
        Assert.Equal(new TraceLine(expected, 600_000, 250_000, 0), Parse(texts[0]));
        Assert.Equal(new TraceLine(expected with { Error = 0, Waits = RequestWaits.None }, 600_000, 250_000, 0), Parse(texts[1]));
        Assert.Equal(new TraceLine(null, 0, 0, 12), Parse(texts[2]));
        Assert.Equal("", texts[3]);
    }

    [Fact]
    public void Words_of_a_later_version_are_no_reason_to_fail()
    {
        var line = Parse("""{"time-ns":1,"loop":0,"operation":"copy","offset":0,"length":1,"way":"teleport","latency-ns":2,"x":1"""
            + ""","waited-for":["source"]}""");
        Assert.Equal((RequestOperation.Unknown, RequestWaits.None), (line.Request!.Value.Operation, line.Request.Value.Waits));
    }

    [Theory]
    [InlineData("[]")]
    [InlineData("{}")]
    [InlineData("nonsense")]
    [InlineData("""{"lost":"many"}""")]
    [InlineData("""{"time-ns":1,"loop":70000,"operation":"read","offset":0,"length":1,"way":"direct","latency-ns":2}""")]
    public void What_is_no_line_of_a_trace_is_refused(string text) => Assert.ThrowsAny<JsonException>(() => Parse(text));

    private static TraceLine Parse(string text) => TraceLine.Parse(Encoding.UTF8.GetBytes(text));
}
