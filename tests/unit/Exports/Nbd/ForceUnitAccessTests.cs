using System;
using System.Buffers.Binary;
using Qcow2Blk.Image;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Xunit;

namespace Qcow2Blk.Tests.Exports.Nbd;

/// <summary>What a client asks to be on disk when it is answered (FUA, flush), the disk is asked for in these words.</summary>
public sealed class ForceUnitAccessTests : IDisposable
{
    private const int Fua = 1;
    private const int NoHole = 2;
    private const int FastZero = 16;
    private const int Read = 0, Write = 1, Flush = 3, Trim = 4, Zero = 6;
    private const uint NBD_EIO = 5;

    private readonly FakeDisk _disk = new();
    private readonly ServedImage _served;

    public ForceUnitAccessTests() => _served = new ServedImage(() => new LoopTask<IDisk>(_disk));

    public void Dispose() => _served.Dispose();

    [Theory]
    [InlineData(Write, 0, "map-write 8192+512, write 8192+512")]
    [InlineData(Write, Fua, "write 8192+512 forced")] // not even tried the short way
    [InlineData(Read, 0, "map-read 8192+512, read 8192+512")]
    [InlineData(Read, Fua, "map-read 8192+512, read 8192+512")]
    [InlineData(Zero, 0, "zero 8192+512 MayUnmap")]
    [InlineData(Zero, Fua, "zero 8192+512 MayUnmap, ForceUnitAccess")]
    [InlineData(Zero, NoHole, "zero 8192+512 None")]
    [InlineData(Zero, NoHole | Fua, "zero 8192+512 ForceUnitAccess")]
    [InlineData(Zero, FastZero | Fua, "zero 8192+512 MayUnmap, Fast, ForceUnitAccess")]
    [InlineData(Trim, 0, "discard 8192+512")]
    [InlineData(Trim, Fua, "discard 8192+512, flush")]
    [InlineData(Flush, 0, "flush")]
    public void Disk_is_asked_for_what_the_client_wants(int command, int flags, string expected)
    {
        Assert.Equal(0u, Ask(command, flags));

        Assert.Equal(expected, string.Join(", ", _disk.Calls));
        Assert.Equal(0, _disk.Epochs.InProgress);
    }

    [Theory]
    [InlineData(Write, Fua, "write")]
    [InlineData(Zero, Fua, "zero")]
    [InlineData(Trim, Fua, "discard")]
    [InlineData(Trim, Fua, "flush")]
    [InlineData(Flush, 0, "flush")]
    public void Client_is_told_what_failed(int command, int flags, string failing)
    {
        _disk.Answer = call => call == failing ? -Errno.EIO : 0;

        Assert.Equal(NBD_EIO, Ask(command, flags));

        Assert.StartsWith(failing, _disk.Calls[^1], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(Write, Fua)]
    [InlineData(Zero, Fua)]
    [InlineData(Trim, Fua)]
    [InlineData(Flush, 0)]
    public void What_was_lost_without_a_word_is_told_to_who_wants_to_be_sure(int command, int flags)
    {
        _served.NoteLoss();

        Assert.Equal((0u, 0u, 0u), (Ask(Write, 0), Ask(Zero, 0), Ask(Trim, 0)));
        Assert.Equal(NBD_EIO, Ask(command, flags));
        Assert.Equal(0u, Ask(command, flags));
    }

    private uint Ask(int command, int flags)
    {
        var range = command == Flush ? (Offset: 0, Length: 0) : (Offset: 8192, Length: 512);
        var reply = new byte[16 + (command == Read ? range.Length : 0)];
        var payload = new byte[command == Write ? range.Length : 0];
        _served.Round(Wire.Join(Wire.Request(flags, command, 1, (ulong)range.Offset, (uint)range.Length), payload), reply);
        return BinaryPrimitives.ReadUInt32BigEndian(reply.AsSpan(4));
    }
}
