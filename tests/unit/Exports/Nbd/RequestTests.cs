using System;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Protocol;
using Xunit;
using static Qcow2Blk.Tests.Exports.Nbd.Wire;

namespace Qcow2Blk.Tests.Exports.Nbd;

/// <summary>Request headers, and which requests are executed, refused, drained or end the connection.</summary>
public sealed class RequestTests
{
    private const int MiB = 1 << 20;

    private static readonly ExportInfo s_disk = Catalog.Disk; // 16 MiB

    [Fact]
    public void Compact_header_is_parsed_from_28_bytes()
    {
        var bytes = Hex("25609513 0009 0007 1122334455667788 0123456789abcdef fedcba98");

        Assert.True(RequestHeader.TryParse(bytes, extended: false, out var header, out var badMagic));

        Assert.False(badMagic);
        Assert.Equal((0x0009, 7, 0x1122334455667788UL), (header.Flags, header.Type, header.Cookie));
        Assert.Equal((0x0123456789abcdefUL, 0xfedcba98UL), (header.Offset, header.Length));
        Assert.Equal(NbdCommand.BlockStatus, header.Command);
        Assert.True(header.Has(CommandFlags.RequestOne) && !header.Has(CommandFlags.Df));
    }

    [Fact]
    public void Extended_header_is_parsed_from_32_bytes()
    {
        var bytes = Hex("21e41c71 0020 0001 1122334455667788 0123456789abcdef fedcba9876543210");

        Assert.True(RequestHeader.TryParse(bytes, extended: true, out var header, out _));

        Assert.Equal((0x0020, 1, 0xfedcba9876543210UL), (header.Flags, header.Type, header.Length));
        Assert.True(header.Has(CommandFlags.PayloadLength));
    }

    [Theory]
    [InlineData(false, 28)]
    [InlineData(true, 32)]
    public void Short_header_is_no_error_and_the_wrong_magic_is_seen_early(bool extended, int size)
    {
        var right = extended ? ExtendedRequest(0, 0, 1, 2, 3) : Request(0, 0, 1, 2, 3);
        var wrong = extended ? Request(0, 0, 1, 2, 3) : ExtendedRequest(0, 0, 1, 2, 3);

        for (var length = 0; length < size; length++)
        {
            Assert.False(RequestHeader.TryParse(right.AsSpan(0, length), extended, out _, out var badMagic));
            Assert.False(badMagic);
        }

        Assert.Equal(size, right.Length);
        Assert.Equal(size, RequestHeader.SizeOf(extended));
        Assert.False(RequestHeader.TryParse(wrong.AsSpan(0, 4), extended, out _, out var wrongMagic));
        Assert.True(wrongMagic);
    }

    [Theory]
    // Every command at its best.
    [InlineData(0, NbdCommand.Read, 0, MiB, 0u)]
    [InlineData(4, NbdCommand.Read, 15 * MiB, MiB, 0u)]
    [InlineData(1, NbdCommand.Write, 0, MiB, 0u)]
    [InlineData(1, NbdCommand.Flush, 0, 0, 0u)]
    [InlineData(1, NbdCommand.Trim, 0, 16 * MiB, 0u)]
    [InlineData(0, NbdCommand.Cache, 0, 16 * MiB, 0u)]
    [InlineData(0x13, NbdCommand.WriteZeroes, 0, 16 * MiB, 0u)]
    [InlineData(8, NbdCommand.BlockStatus, 0, 16 * MiB, 0u)]
    [InlineData(1, NbdCommand.Read, 0, 1, 0u)] // FUA goes with every command
    [InlineData(1, NbdCommand.BlockStatus, 0, 1, 0u)]
    [InlineData(0xffff, NbdCommand.Disconnect, 7, 7, 0u)]
    // Unknown commands and flags, flags of other commands.
    [InlineData(0, NbdCommand.Resize, 0, 0, 22u)]
    [InlineData(0, (NbdCommand)0xffff, 0, 0, 22u)]
    [InlineData(2, NbdCommand.Read, 0, 1, 22u)]
    [InlineData(8, NbdCommand.Read, 0, 1, 22u)]
    [InlineData(0x8000, NbdCommand.Read, 0, 1, 22u)]
    [InlineData(4, NbdCommand.Write, 0, 1, 22u)]
    [InlineData(0x10, NbdCommand.Trim, 0, 1, 22u)]
    [InlineData(2, NbdCommand.Cache, 0, 1, 22u)]
    [InlineData(4, NbdCommand.BlockStatus, 0, 1, 22u)]
    [InlineData(0x20, NbdCommand.Read, 0, 1, 22u)] // payload length without extended headers
    [InlineData(0x20, NbdCommand.Write, 0, 1, 22u)]
    // Ranges: reading past the end is invalid, writing past it is out of space.
    [InlineData(0, NbdCommand.Read, (16 * MiB) - 1, 2, 22u)]
    [InlineData(0, NbdCommand.Read, -1, 2, 22u)] // 2^64 - 1: the sum must not wrap
    [InlineData(0, NbdCommand.Trim, (16 * MiB) - 1, 2, 22u)]
    [InlineData(0, NbdCommand.Cache, 16 * MiB, 1, 22u)]
    [InlineData(0, NbdCommand.BlockStatus, 16 * MiB, 1, 22u)]
    [InlineData(0, NbdCommand.Write, (16 * MiB) - 1, 2, 28u)]
    [InlineData(0, NbdCommand.Write, -1, 2, 28u)]
    [InlineData(0, NbdCommand.WriteZeroes, 16 * MiB, 1, 28u)]
    // Nothing to do.
    [InlineData(0, NbdCommand.Read, 16 * MiB, 0, 0u)]
    [InlineData(0, NbdCommand.Write, 0, 0, 0u)]
    [InlineData(0, NbdCommand.Trim, 0, 0, 0u)]
    [InlineData(0, NbdCommand.Read, (16 * MiB) + 1, 0, 22u)]
    [InlineData(0, NbdCommand.BlockStatus, 0, 0, 22u)]
    // Fields that must be zero.
    [InlineData(0, NbdCommand.Flush, 0, 1, 22u)]
    [InlineData(0, NbdCommand.Flush, 1, 0, 22u)]
    public void Requests_are_judged_as_the_specification_says(int flags, NbdCommand command, long offset, int length, uint expected)
    {
        var rules = new RequestRules(s_disk, ReplyMode.Structured, hasContexts: true);

        var verdict = rules.Validate(Header(flags, command, (ulong)offset, (ulong)length), s_disk.Size);

        Assert.Equal((expected, false), (verdict.Error, verdict.MustClose));
        Assert.Equal(command == NbdCommand.Write ? (uint)length : 0, verdict.PayloadLength);
    }

    [Theory]
    [InlineData(NbdCommand.Write)]
    [InlineData(NbdCommand.Trim)]
    [InlineData(NbdCommand.WriteZeroes)]
    public void Writing_to_a_read_only_export_is_not_permitted_and_its_payload_is_drained(NbdCommand command)
    {
        var verdict = new RequestRules(Catalog.Frozen, ReplyMode.Simple, false).Validate(Header(0, command, 0, 512), Catalog.Frozen.Size);

        Assert.Equal(new RequestVerdict(1, command == NbdCommand.Write ? 512u : 0, false), verdict);
    }

    [Theory]
    [InlineData(NbdCommand.Trim, 0)]
    [InlineData(NbdCommand.WriteZeroes, 0)]
    [InlineData(NbdCommand.Cache, 0)]
    [InlineData(NbdCommand.Read, 4)] // do not fragment, without structured replies
    [InlineData(NbdCommand.BlockStatus, 0)] // without contexts
    public void What_was_not_offered_is_invalid(NbdCommand command, int flags)
    {
        var plain = new ExportInfo { Name = "plain", Size = MiB };

        Assert.Equal(22u, new RequestRules(plain, ReplyMode.Simple, false).Validate(Header(flags, command, 0, 512), plain.Size).Error);
    }

    [Fact]
    public void Fast_zero_is_invalid_unless_offered()
    {
        var slow = s_disk with { CanFastZero = false };

        Assert.Equal(22u,
            new RequestRules(slow, ReplyMode.Simple, false).Validate(Header(0x10, NbdCommand.WriteZeroes, 0, 512), slow.Size).Error);
    }

    [Theory]
    [InlineData(32 * MiB, 0u, false)]
    [InlineData((32 * MiB) + 1, 22u, false)]
    [InlineData(64 * MiB, 22u, false)]
    [InlineData((64 * MiB) + 1, 22u, true)]
    public void Compact_write_beyond_32_MiB_is_drained_and_beyond_64_MiB_closed(int length, uint error, bool mustClose)
    {
        var big = s_disk with { Size = 1L << 40 };

        var verdict = new RequestRules(big, ReplyMode.Structured, false).Validate(Header(0, NbdCommand.Write, 0, (ulong)length), big.Size);

        Assert.Equal(new RequestVerdict(error, mustClose ? 0 : (uint)length, mustClose), verdict);
    }

    [Fact]
    public void Read_beyond_32_MiB_is_invalid()
    {
        var big = s_disk with { Size = 1L << 40 };
        var rules = new RequestRules(big, ReplyMode.Simple, false);

        Assert.Equal(0u, rules.Validate(Header(0, NbdCommand.Read, 0, 32 * MiB), big.Size).Error);
        Assert.Equal(new RequestVerdict(22, 0, false), rules.Validate(Header(0, NbdCommand.Read, 0, (32 * MiB) + 1), big.Size));
    }

    [Fact]
    public void Smaller_maximum_refuses_but_does_not_close()
    {
        var small = s_disk with { MaximumBlockSize = MiB };

        var verdict = new RequestRules(small, ReplyMode.Extended, false).Validate(Header(0x20, NbdCommand.Write, 0, 2 * MiB), small.Size);

        Assert.Equal(new RequestVerdict(22, 2 * MiB, false), verdict);
    }

    [Theory]
    [InlineData(NbdCommand.Trim)]
    [InlineData(NbdCommand.WriteZeroes)]
    [InlineData(NbdCommand.Cache)]
    [InlineData(NbdCommand.BlockStatus)]
    public void Extended_headers_carry_effects_of_more_than_32_bits(NbdCommand command)
    {
        var big = s_disk with { Size = 1L << 40 };

        var verdict = new RequestRules(big, ReplyMode.Extended, true).Validate(Header(0, command, 512, (1UL << 40) - 512), big.Size);

        Assert.Equal(default, verdict);
    }

    [Theory]
    [InlineData(NbdCommand.Trim, 22u)]
    [InlineData(NbdCommand.WriteZeroes, 28u)]
    [InlineData(NbdCommand.BlockStatus, 22u)]
    public void Extended_length_that_wraps_around_64_bits_is_past_the_end(NbdCommand command, uint expected)
    {
        var verdict = new RequestRules(s_disk, ReplyMode.Extended, true).Validate(Header(0, command, 4096, ulong.MaxValue - 100),
            s_disk.Size);

        Assert.Equal(new RequestVerdict(expected, 0, false), verdict);
    }

    [Theory]
    [InlineData(0x00, NbdCommand.Write, 512UL, 22u, 0u, true)] // does a payload follow? nobody knows
    [InlineData(0x20, NbdCommand.Write, 512UL, 0u, 512u, false)]
    [InlineData(0x20, NbdCommand.Write, (32UL << 20) + 1, 22u, 0u, true)]
    [InlineData(0x20, NbdCommand.Write, ulong.MaxValue, 22u, 0u, true)]
    [InlineData(0x20, NbdCommand.Read, 512UL, 22u, 512u, false)]
    [InlineData(0x20, NbdCommand.BlockStatus, 12UL, 22u, 12u, false)]
    [InlineData(0x20, (NbdCommand)99, 512UL, 22u, 512u, false)]
    [InlineData(0x20, NbdCommand.Trim, 1UL << 40, 22u, 0u, true)]
    [InlineData(0x00, NbdCommand.Read, ulong.MaxValue, 22u, 0u, false)]
    public void Extended_payloads_are_drained_or_end_the_connection(
        int flags, NbdCommand command, ulong length, uint error, uint payload, bool mustClose)
    {
        var verdict = new RequestRules(s_disk, ReplyMode.Extended, true).Validate(Header(flags, command, 0, length), s_disk.Size);

        Assert.Equal(new RequestVerdict(error, payload, mustClose), verdict);
    }

    [Fact]
    public void Advertised_minimum_block_size_is_enforced()
    {
        var coarse = s_disk with { MinimumBlockSize = 4096 };
        var rules = new RequestRules(coarse, ReplyMode.Simple, false);

        Assert.Equal(0u, rules.Validate(Header(0, NbdCommand.Write, 4096, 8192), coarse.Size).Error);
        Assert.Equal(new RequestVerdict(22, 8192, false), rules.Validate(Header(0, NbdCommand.Write, 512, 8192), coarse.Size));
        Assert.Equal(22u, rules.Validate(Header(0, NbdCommand.Read, 0, 512), coarse.Size).Error);
    }

    [Fact]
    public void Disk_that_grew_is_judged_by_its_new_size()
    {
        var rules = new RequestRules(s_disk, ReplyMode.Simple, false);

        Assert.Equal(0u, rules.Validate(Header(0, NbdCommand.Write, 16 * MiB, 512), 17 * MiB).Error);
    }

    private static RequestHeader Header(int flags, NbdCommand command, ulong offset, ulong length) =>
        new((ushort)flags, (ushort)command, 1, offset, length);
}
