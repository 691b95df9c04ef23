using System;
using System.Runtime.InteropServices;
using System.Text;
using Qcow2Blk.Interop;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Strings for C, on the stack or not.</summary>
public sealed unsafe class CStringTests
{
    [Theory]
    [InlineData("")]
    [InlineData("/tmp/disk.qcow2")]
    [InlineData("/tmp/größe, 磁盘, 💾")]
    public void Bytes_are_utf8_and_end_with_a_zero(string text) => AssertSame(text);

    [Theory]
    [InlineData(CString.Room - 1)]
    [InlineData(CString.Room)]
    [InlineData(5000)]
    public void String_longer_than_the_room_is_whole(int length)
    {
        AssertSame(new string('x', length));
        AssertSame(new string('ö', length));
    }

    private static void AssertSame(string text)
    {
        using var copy = new CString(text, stackalloc byte[CString.Room]);
        Assert.Equal(Encoding.UTF8.GetBytes(text), MemoryMarshal.CreateReadOnlySpanFromNullTerminated(copy).ToArray());
    }
}
