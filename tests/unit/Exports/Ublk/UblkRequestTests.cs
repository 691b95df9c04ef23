using Qcow2Blk.Buffers;
using Qcow2Blk.Exports;
using Qcow2Blk.Exports.Ublk;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Interop;
using Qcow2Blk.Tests.Shared.Simulation;
using Qcow2Blk.Uring;
using Xunit;

namespace Qcow2Blk.Tests.Exports.Ublk;

/// <summary>What the kernel asks for, with the numbers of linux/ublk_cmd.h, and what the disk is asked for then.</summary>
public sealed class UblkRequestTests
{
    private const uint Read = 0, Write = 1, Flush = 2, Discard = 3, WriteSame = 4, WriteZeroes = 5;
    private const uint Meta = 1 << 11, Fua = 1 << 13, NoUnmap = 1 << 15, NeedRegisteredBuffer = 1 << 17;

    private readonly FakeDisk _disk = new();
    private readonly ServedDisk _served;

    public UblkRequestTests()
    {
        _served = new ServedDisk(new EventLoop(0, new OffloadPool(1)), parkOnNoSpace: false);
        _served.Set(_disk);
    }

    [Theory]
    [InlineData(Read, "read 8192+1024")]
    [InlineData(Write, "write 8192+1024")]
    [InlineData(Write | Meta, "write 8192+1024")]
    [InlineData(Write | Fua, "write 8192+1024 forced")]
    [InlineData(Write | Fua | NeedRegisteredBuffer, "write 8192+1024 forced")]
    [InlineData(WriteZeroes, "zero 8192+1024 MayUnmap")]
    [InlineData(WriteZeroes | NoUnmap, "zero 8192+1024 None")]
    [InlineData(WriteZeroes | Fua, "zero 8192+1024 MayUnmap, ForceUnitAccess")]
    [InlineData(WriteZeroes | Fua | NoUnmap, "zero 8192+1024 ForceUnitAccess")]
    [InlineData(Discard, "discard 8192+1024")]
    [InlineData(Flush, "flush")]
    public void Disk_is_asked_for_what_the_kernel_wants(uint flags, string expected)
    {
        Assert.Equal(0, Execute(flags));
        Assert.Equal(expected, string.Join(", ", _disk.Calls));
    }

    [Fact]
    public void Unknown_operation_is_refused()
    {
        Assert.Equal(-Errno.EOPNOTSUPP, Execute(WriteSame));
        Assert.Empty(_disk.Calls);
    }

    [Theory]
    [InlineData(Read, true)]
    [InlineData(Read | Fua, true)]
    [InlineData(Write, true)]
    [InlineData(Write | Fua, false)] // a sync has to follow
    [InlineData(Flush, false)]
    [InlineData(Discard, false)]
    [InlineData(WriteZeroes, false)]
    public void Only_what_is_done_by_one_transfer_goes_the_short_way(uint flags, bool expected) =>
        Assert.Equal(expected, Request(flags).MayTransferDirectly);

    [Fact]
    public void Pages_that_the_driver_could_not_hand_over_are_copied() =>
        Assert.Equal((false, true), (Request(Write).MustCopy, Request(Write | NeedRegisteredBuffer).MustCopy));

    [Theory]
    [InlineData(Write | Fua)]
    [InlineData(WriteZeroes | Fua)]
    [InlineData(Flush)]
    public void What_was_lost_without_a_word_is_told_to_who_wants_to_be_sure(uint flags)
    {
        _served.NoteLoss();

        Assert.Equal((0, 0, 0, 0), (Execute(Write), Execute(Read), Execute(WriteZeroes), Execute(Discard)));
        Assert.Equal((-Errno.EIO, 0), (Execute(flags), Execute(flags)));
    }

    private static UblkRequest Request(uint flags) => new(flags, Sectors: 2, StartSector: 16);

    private int Execute(uint flags)
    {
        using var loop = new SimulatedLoop(1);
        using var buffer = new TableBuffer(1024);
        var pieces = new LongRequest(_served, new RequestGate(loop));
        var data = (flags & 0xff) <= Write ? buffer.Take(1024) : default(NativeBuffer);
        return loop.RunUntilComplete(Request(flags).ExecuteAsync(_served, data, pieces));
    }
}
