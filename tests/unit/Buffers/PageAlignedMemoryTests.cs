using DotNext.Buffers;
using Qcow2Blk.Buffers;
using Qcow2Blk.Image.Check;
using Xunit;

namespace Qcow2Blk.Tests.Buffers;

/// <summary>Native memory that has an owner, as direct I/O needs it: each of its addresses and lengths a multiple of 4096.</summary>
public sealed class PageAlignedMemoryTests
{
    private const int Page = 4096;

    [Theory]
    [InlineData(512)]
    [InlineData(4096)]
    [InlineData(70000)]
    public void Buffer_is_all_of_the_owners_memory_and_begins_with_a_page(int length)
    {
        using var owner = UnmanagedMemory.AllocatePageAlignedMemory(length);
        var buffer = NativeBuffer.Of(owner);
        Assert.Equal(0, buffer.Address % Page);
        Assert.Equal(length, buffer.Length);
        buffer.Span[^1] = 42;
        Assert.Equal(42, owner.Memory.Span[^1]);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(4097)]
    public void Table_buffer_is_whole_pages(int length)
    {
        using var buffer = new TableBuffer(length);
        Assert.Equal(0, buffer.Whole.Address % Page);
        Assert.Equal(0, buffer.Capacity % Page);
        Assert.True(buffer.Capacity >= length);
    }
}
