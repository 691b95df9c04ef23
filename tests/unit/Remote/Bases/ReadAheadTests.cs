using Qcow2Blk.Remote.Bases;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Bases;

public class ReadAheadTests
{
    [Fact]
    public void Window_doubles_with_each_step_up_to_a_limit()
    {
        var ahead = new ReadAhead();
        Assert.Equal(0, ahead.Missed(0));
        var chunk = 1L;
        foreach (var window in (int[])[1, 2, 4, 8, 16, 32, ReadAhead.MaxWindow, ReadAhead.MaxWindow])
        {
            Assert.Equal(window, ahead.Missed(chunk));
            chunk += window + 1;
        }
    }

    /// <summary>A reader that is faster than what was fetched ahead for it waits for chunks that are on their way.</summary>
    [Fact]
    public void Chunk_that_is_on_its_way_is_no_reason_to_fetch_more()
    {
        var ahead = new ReadAhead();
        ahead.Missed(0);
        ahead.Missed(1);
        Assert.Equal(2, ahead.Missed(3));
        Assert.Equal(0, ahead.Missed(4));
        Assert.Equal(0, ahead.Missed(5));
        Assert.Equal(4, ahead.Missed(6));
        Assert.Equal(0, ahead.Missed(2));
    }

    [Fact]
    public void Sequence_that_was_used_longest_ago_is_forgotten_for_a_new_one()
    {
        var ahead = new ReadAhead();
        for (var stream = 1; stream <= 8; stream++)
            Assert.Equal(0, ahead.Missed(stream * 1000));
        Assert.Equal(1, ahead.Missed(1001));
        Assert.Equal(0, ahead.Missed(50_000));
        Assert.Equal(2, ahead.Missed(1003));
        Assert.Equal(1, ahead.Missed(3001));
        Assert.Equal(0, ahead.Missed(2001));
    }
}
