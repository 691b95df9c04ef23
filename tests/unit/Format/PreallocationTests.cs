using Qcow2Blk.Format;
using Xunit;

namespace Qcow2Blk.Tests.Format;

/// <summary>Which files are asked for their holes.</summary>
public sealed class PreallocationTests
{
    [Theory]
    [InlineData(196616, 392 * 512, 65536, false)]
    [InlineData(8716288, 1128 * 512, 65536, true)]
    [InlineData(8716288, 16904 * 512, 65536, false)]
    [InlineData(long.MaxValue, 0, 512, true)]
    [InlineData(long.MaxValue, long.MaxValue, 512, false)]
    [InlineData(0, 0, 65536, false)]
    [InlineData(2 * 65536, 0, 65536, true)]
    [InlineData(2 * 65536 - 65536, 0, 65536, false)]
    public void Holes_are_expected_where_qemu_expects_them(long length, long allocated, int clusterSize, bool expected) =>
        Assert.Equal(expected, Preallocation.LeavesHoles(length, allocated, clusterSize));
}
