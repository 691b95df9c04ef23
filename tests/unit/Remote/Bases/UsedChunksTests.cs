using System.Linq;
using Qcow2Blk.Remote.Bases;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Bases;

/// <summary>Ranges come from the tables of an image: anything may be in them.</summary>
public class UsedChunksTests
{
    private const int Chunk = 1 << 16;
    private const long Length = (100 * Chunk) + 1000;

    [Theory]
    [InlineData(-1, 5)]
    [InlineData(-3 * Chunk, 10 * Chunk)]
    [InlineData(long.MinValue, long.MaxValue)]
    [InlineData(Length, 1)]
    [InlineData(long.MaxValue, long.MaxValue)]
    [InlineData(5, 0)]
    [InlineData(5, -1)]
    [InlineData(5, long.MinValue)]
    public void What_is_not_a_range_of_the_base_is_left_out(long offset, long bytes)
    {
        var used = new UsedChunks(Length, Chunk);
        used.Add(offset, bytes);
        Assert.Equal(0, used.Count);
    }

    [Theory]
    [InlineData(0, 1, 0, 0)]
    [InlineData(Chunk - 1, 2, 0, 1)]
    [InlineData(63 * Chunk, 2 * Chunk, 63, 64)]
    [InlineData(Length - 1, long.MaxValue, 100, 100)]
    [InlineData(99 * Chunk, Chunk + 1, 99, 100)]
    public void Chunks_of_a_range_are_noted(long offset, long bytes, int first, int last)
    {
        var used = new UsedChunks(Length, Chunk);
        used.Add(offset, bytes);
        Assert.Equal(Enumerable.Range(first, last - first + 1), Enumerable.Range(0, 101).Where(chunk => used.Contains(chunk)));
    }
}
