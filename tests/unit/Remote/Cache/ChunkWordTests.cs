using Qcow2Blk.Remote.Cache;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Cache;

/// <summary>What the map says of a chunk, bit by bit.</summary>
public class ChunkWordTests
{
    [Fact]
    public void A_word_has_what_it_was_made_of()
    {
        var word = default(ChunkWord).Stored(0x89abcdef, pin: true);
        Assert.Equal(0x89abcdef_000001_03ul, word.Raw);
        Assert.True(word.IsValid && word.IsPinned);
        Assert.Equal(0x89abcdefu, word.Checksum);
        word = word.Stored(0x01234567, pin: false);
        Assert.Equal(0x01234567_000002_01ul, word.Raw);
        Assert.True(word.IsValid && !word.IsPinned);
        Assert.False(default(ChunkWord).IsValid || default(ChunkWord).IsPinned);
    }

    /// <summary>Whoever compares words must notice each change, also where the bytes of a word appear one after the other.</summary>
    [Fact]
    public void Each_change_takes_the_next_generation()
    {
        var word = default(ChunkWord).Stored(7, pin: false);
        for (var generation = 2ul; generation < 10; generation += 2)
        {
            word = word.Cleared();
            Assert.Equal(generation << 8, word.Raw);
            word = word.Stored(7, pin: false);
            Assert.Equal(generation + 1, word.Raw >> 8 & 0xffffff);
        }

        // The last one is followed by the first, and nothing runs over into the checksum.
        Assert.Equal(0ul, new ChunkWord(0xffffff_00).Cleared().Raw);
        Assert.Equal(0x7_000000_01ul, new ChunkWord(0xffffff_00).Stored(7, pin: false).Raw);
    }

    [Fact]
    public void A_word_with_a_flag_that_is_not_known_is_not_one_of_ours()
    {
        for (var flags = 0ul; flags < 256; flags++)
        {
            var word = new ChunkWord(0x12345678_000001_00ul | flags);
            Assert.Equal(flags is 1 or 3, word.IsValid);
            Assert.Equal(flags is 3, word.IsPinned);
        }
    }
}
