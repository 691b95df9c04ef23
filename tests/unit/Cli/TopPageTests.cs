using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Text;
using Qcow2Blk.Cli;
using Qcow2Blk.Cli.Terminal;
using Qcow2Blk.Cli.Top;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Tests.Devices.Metrics;
using Xunit;

namespace Qcow2Blk.Tests.Cli;

/// <summary>The columns of <c>top</c> that are about bases in stores.</summary>
public class TopPageTests
{
    private const string Plain = """{ "name": "disk", "state": "running", "requests": { "reads": 1 } }""";

    private static readonly string[] s_ofBases = ["CACHED", "BHITS", "FETCH99"];

    [Fact]
    public void Device_with_a_base_in_a_store_shows_its_share_its_hits_and_its_fetches()
    {
        var full = Encoding.UTF8.GetString(SampleStatus.Full.Span);
        var later = full.Replace("\"hits\": 70, \"misses\": 16", "\"hits\": 79, \"misses\": 19", StringComparison.Ordinal);
        Assert.NotEqual(full, later);
        var rate = DeviceRate.Between(Counters(full, 0), Counters(later, Stopwatch.Frequency));

        Assert.Equal(75, rate.BaseHitPercent);
        Assert.Equal(["0%", "75%", "90 ms"], TopColumn.All.Where(column => column.IsOfBases).Select(column => column.Text(rate)));
        var head = Lines(200, rate)[0];
        Assert.All(s_ofBases, title => Assert.Contains(title, head, StringComparison.Ordinal));
    }

    [Fact]
    public void Devices_without_such_a_base_have_no_columns_for_it()
    {
        var head = Lines(200, new DeviceRate(Counters(Plain, 0)))[0];
        Assert.All(s_ofBases, title => Assert.DoesNotContain(title, head, StringComparison.Ordinal));

        // One of several is enough, and the others show that they have none.
        var full = Encoding.UTF8.GetString(SampleStatus.Full.Span);
        var lines = Lines(200, new DeviceRate(Counters(Plain, 0)), new DeviceRate(Counters(full, 0)));
        Assert.Contains("CACHED", lines[0], StringComparison.Ordinal);
        Assert.Equal('-', lines[1][lines[0].IndexOf("CACHED", StringComparison.Ordinal) + 5 - Escapes(lines[0])]);
    }

    [Theory]
    [InlineData(60)]
    [InlineData(80)]
    [InlineData(100)]
    [InlineData(120)]
    [InlineData(200)]
    public void Page_is_as_wide_as_the_terminal_and_keeps_the_image(int columns)
    {
        var rate = new DeviceRate(Counters(Encoding.UTF8.GetString(SampleStatus.Full.Span), 0));
        var lines = Lines(columns, rate);
        Assert.Contains("IMAGE", lines[0], StringComparison.Ordinal);
        Assert.All(lines, line => Assert.InRange(line.Replace("\e[7m", "", StringComparison.Ordinal).Length, 1, columns));

        // Of all that is about bases, the share in the cache is shown on the narrowest terminals.
        Assert.Equal(columns >= 100, lines[0].Contains("CACHED", StringComparison.Ordinal));
        Assert.Equal(columns >= 200, lines[0].Contains("BHITS", StringComparison.Ordinal));
    }

    private static int Escapes(string line) => line.StartsWith("\e[7m", StringComparison.Ordinal) ? "\e[7m".Length : 0;

    private static string[] Lines(int columns, params DeviceRate[] rates) =>
        new TopPage(columns, new Style(hasColours: false)).Lines(rates, TopColumn.ByName("reads")!)
            .Select(line => line.Replace("\e[27m\e[1m\e[4m", "", StringComparison.Ordinal)
                .Replace("\e[24m\e[22m\e[7m", "", StringComparison.Ordinal)).ToArray();

    private static DeviceCounters Counters(string status, long at)
    {
        var record = new DeviceRecord
        {
            Name = "disk",
            Image = "/data/disk.qcow2",
            Pid = 4711,
            Started = DateTimeOffset.UnixEpoch,
            Options = new AttachOptions { Image = "/data/disk.qcow2" },
        };
        return DeviceCounters.Of(new DeviceAnswer(record, Encoding.UTF8.GetBytes(status), at + 1, null));
    }
}
