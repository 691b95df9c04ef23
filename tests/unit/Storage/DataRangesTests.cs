using System;
using Qcow2Blk.Storage;
using Xunit;

namespace Qcow2Blk.Tests.Storage;

/// <summary>What is remembered of a file is data, or was until a hole was punched: never more.</summary>
public sealed class DataRangesTests
{
    private readonly DataRanges _ranges = new();

    [Fact]
    public void Data_is_known_from_its_start_to_its_end()
    {
        _ranges.Add(4096, 8192);
        Assert.Equal((0, 8192, 8192, 0), (_ranges.EndAt(4095), _ranges.EndAt(4096), _ranges.EndAt(8191), _ranges.EndAt(8192)));
    }

    [Fact]
    public void Ranges_that_touch_become_one()
    {
        _ranges.Add(4096, 8192);
        _ranges.Add(12288, 16384);
        _ranges.Add(8192, 12288);
        Assert.Equal(16384, _ranges.EndAt(4096));
    }

    [Theory]
    [InlineData(0, 300, -1)]
    [InlineData(0, 150, 150)]
    [InlineData(0, 1, 100)]
    [InlineData(150, 300, 149)]
    [InlineData(110, 120, 120)]
    [InlineData(190, 195, 189)]
    [InlineData(199, 1000, 198)]
    [InlineData(0, 101, 101)]
    public void Removed_bytes_are_known_no_more_and_the_longer_rest_is(long start, long end, long kept)
    {
        _ranges.Add(100, 200);
        _ranges.Remove(start, end);
        for (var at = 0; at < 300; at++)
            Assert.False(_ranges.EndAt(at) is var known and > 0 && (at < 100 || known > 200 || (at < end && known > start)), $"byte {at}");
        Assert.Equal(kept >= 0, _ranges.EndAt(kept) > 0);
    }

    [Fact]
    public void Random_ranges_are_only_data_that_was_added_and_not_removed()
    {
        var random = new Random(7);
        var isData = new bool[256];
        for (var step = 0; step < 20_000; step++)
        {
            var start = random.Next(256);
            var end = random.Next(start, 257);
            if (start == end)
                continue;
            var add = random.Next(2) == 0;
            if (add)
                _ranges.Add(start, end);
            else
                _ranges.Remove(start, end);
            Array.Fill(isData, add, start, end - start);
            for (var at = 0; at < 256; at++)
            {
                if (_ranges.EndAt(at) is var known and > 0)
                    Assert.False(known > 256 || isData.AsSpan(at, (int)known - at).Contains(false), $"step {step}: {at} to {known}");
            }
        }
    }
}
