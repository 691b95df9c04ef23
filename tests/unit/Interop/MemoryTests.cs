using Qcow2Blk.Interop;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Lines of /proc/PID/maps as the kernel writes them.</summary>
public sealed class MemoryTests
{
    [Theory]
    [InlineData("55ea8a53a000-55ea8a903000 r-xp 0000b000 fe:00 131 /usr/bin/qcow2blk", 0x55ea8a53a000, 0x3c9000)]
    [InlineData("7f0000000000-7f0000001000 r-xp 00000000 00:00 9 /memfd:doublemapper (deleted)", 0x7f0000000000, 0x1000)]
    public void Executable_mappings_of_files_are_programs(string line, ulong start, ulong length)
    {
        Assert.True(Memory.TryParseProgram(line, out var foundStart, out var foundLength));
        Assert.Equal((start, length), (foundStart, foundLength));
    }

    [Theory]
    [InlineData("55ea8a52f000-55ea8a53a000 r--p 00000000 fe:00 131 /usr/bin/qcow2blk")]
    [InlineData("7ffff7fc3000-7ffff7fc5000 r-xp 00000000 00:00 0                          [vdso]")]
    [InlineData("7f1000000000-7f1000021000 rw-p 00000000 00:00 0 ")]
    [InlineData("2000-1000 r-xp 00000000 fe:00 131 /x")]
    [InlineData("")]
    [InlineData("- r-xp /")]
    [InlineData("nonsense")]
    public void Everything_else_is_none(string line) => Assert.False(Memory.TryParseProgram(line, out _, out _));
}
