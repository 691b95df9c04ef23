using System;
using Qcow2Blk.Format;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Format;

/// <summary>Sizes near 2^63, which come from files, sockets and command lines, never become negative.</summary>
public sealed class RoundingTests
{
    [Theory]
    [InlineData(0, 512, 0, 0)]
    [InlineData(1, 512, 512, 0)]
    [InlineData(512, 512, 512, 512)]
    [InlineData(513, 512, 1024, 512)]
    [InlineData(long.MaxValue - 511, 512, long.MaxValue - 511, long.MaxValue - 511)]
    [InlineData(long.MaxValue, 1, long.MaxValue, long.MaxValue)]
    public void Rounded_values_are_multiples(long value, long unit, long up, long down) =>
        Assert.Equal((up, down), (Rounding.Up(value, unit), Rounding.Down(value, unit)));

    [Theory]
    [InlineData(long.MaxValue, 2)]
    [InlineData(long.MaxValue - 510, 512)]
    [InlineData(long.MaxValue - 4094, 4096)]
    public void What_has_no_multiple_below_2_to_the_63_is_an_error(long value, long unit) =>
        Assert.Throws<OverflowException>(() => Rounding.Up(value, unit));

    [Fact]
    public void Largest_file_can_be_rounded_to_anything_that_is_rounded_to()
    {
        foreach (var unit in (long[])[512, 4096, 1L << Limits.MaxClusterBits, 1 << 30])
            Assert.Equal(Limits.MaxFileBytes, Rounding.Up(Limits.MaxFileBytes, unit));
    }

    [Fact]
    public void Tables_of_an_image_in_the_longest_file_are_within_it()
    {
        using var directory = new TempDirectory();
        var image = directory.File("disk.qcow2");
        QemuImg.Create(image, "1M");
        var bytes = new ImageBytes(image);
        bytes.Header.CheckAgainstFile(long.MaxValue);

        var snapshot = new SnapshotEntry
        {
            Id = "1",
            Name = "",
            L1TableOffset = new HostOffset(0x30000),
            L1Size = 1,
            DiskSize = 1 << 20,
            VmStateSize = 0,
            DateSeconds = 0,
            DateNanoseconds = 0,
            VmClockNanoseconds = 0,
            Icount = null,
            EntryOffset = 0,
        };
        snapshot.CheckL1(bytes.Header, long.MaxValue);
    }
}
