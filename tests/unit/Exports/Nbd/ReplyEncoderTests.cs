using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using FsCheck;
using FsCheck.Fluent;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Protocol;
using Xunit;
using static Qcow2Blk.Tests.Exports.Nbd.Wire;

namespace Qcow2Blk.Tests.Exports.Nbd;

/// <summary>Replies byte for byte, from the layouts and numbers of the specification.</summary>
public sealed class ReplyEncoderTests
{
    private const string Cookie = "1122334455667788";
    private const string Offset = "0000000000010000";

    private static readonly RequestHeader s_read = new(0, 0, 0x1122334455667788, 0x10000, 0x3000);
    private static readonly RequestHeader s_trim = new(0, 4, 0x1122334455667788, 0x10000, 0x3000);

    private delegate int Encode(Span<byte> destination);

    [Fact]
    public void Simple_reply_has_16_bytes() =>
        Same("67446698 00000016 " + Cookie, buffer => ReplyEncoder.WriteSimple(buffer, s_read, 22));

    [Theory]
    [InlineData(ReplyMode.Simple, "67446698 00000000 " + Cookie)]
    [InlineData(ReplyMode.Structured, "668e33ef 0001 0001 " + Cookie + "00003008" + Offset)]
    [InlineData(ReplyMode.Extended, "6e8a278c 0001 0001 " + Cookie + Offset + "0000000000003008" + Offset)]
    public void Whole_read_has_one_header(ReplyMode mode, string expected)
    {
        Same(expected, buffer => ReplyEncoder.WriteReadHeader(buffer, mode, s_read));
        Assert.Equal(Hex(expected).Length, ReplyEncoder.ReadHeaderSize(mode));
    }

    [Theory]
    [InlineData(ReplyMode.Structured, "668e33ef 0000 0002 " + Cookie + "0000000c 0000000000011000 00001000")]
    [InlineData(ReplyMode.Extended, "6e8a278c 0000 0002 " + Cookie + Offset + "000000000000000c 0000000000011000 00001000")]
    public void Hole_tells_offset_and_length(ReplyMode mode, string expected) =>
        Same(expected, buffer => ReplyEncoder.WriteOffsetHole(buffer, mode, s_read, 0x11000, 0x1000, done: false));

    [Theory]
    [InlineData(ReplyMode.Structured, "668e33ef 0000 0001 " + Cookie + "00001008 0000000000012000")]
    [InlineData(ReplyMode.Extended, "6e8a278c 0000 0001 " + Cookie + Offset + "0000000000001008 0000000000012000")]
    public void Data_in_the_middle_keeps_the_request_offset_in_an_extended_header(ReplyMode mode, string expected) =>
        Same(expected, buffer => ReplyEncoder.WriteOffsetData(buffer, mode, s_read, 0x12000, 0x1000, done: false));

    [Theory]
    [InlineData(ReplyMode.Structured, "668e33ef 0001 0000 " + Cookie + "00000000")]
    [InlineData(ReplyMode.Extended, "6e8a278c 0001 0000 " + Cookie + Offset + "0000000000000000")]
    public void None_ends_a_reply(ReplyMode mode, string expected) =>
        Same(expected, buffer => ReplyEncoder.WriteNone(buffer, mode, s_read));

    [Theory]
    [InlineData(ReplyMode.Structured, "668e33ef 0001 8001 " + Cookie + "0000000a 00000005 0004 6469736b")]
    [InlineData(ReplyMode.Extended, "6e8a278c 0001 8001 " + Cookie + Offset + "000000000000000a 00000005 0004 6469736b")]
    public void Error_carries_number_and_text(ReplyMode mode, string expected) =>
        Same(expected, buffer => ReplyEncoder.WriteError(buffer, mode, s_read, 5, "disk"u8));

    [Theory]
    [InlineData(ReplyMode.Structured, "668e33ef 0000 8002 " + Cookie + "00000012 00000005 0004 6469736b 0000000000010200")]
    [InlineData(ReplyMode.Extended, "6e8a278c 0000 8002 " + Cookie + Offset + "0000000000000012 00000005 0004 6469736b 0000000000010200")]
    public void Error_offset_comes_after_the_text(ReplyMode mode, string expected) =>
        Same(expected, buffer => ReplyEncoder.WriteErrorOffset(buffer, mode, s_read, 5, "disk"u8, 0x10200, done: false));

    [Fact]
    public void Error_text_is_cut_at_a_character_within_4096_bytes()
    {
        var text = Encoding.UTF8.GetBytes("a" + string.Concat(Enumerable.Repeat("é", 3000)));
        var buffer = new byte[8192];

        var written = ReplyEncoder.WriteError(buffer, ReplyMode.Structured, s_read, 5, text);

        Assert.Equal(20 + 6 + 4095, written);
        Assert.Equal(text[..4095], buffer[26..written]);
    }

    [Theory]
    [InlineData(ReplyMode.Simple, false, 0u, "67446698 00000000 " + Cookie)]
    [InlineData(ReplyMode.Simple, false, 28u, "67446698 0000001c " + Cookie)]
    [InlineData(ReplyMode.Structured, false, 0u, "67446698 00000000 " + Cookie)]
    [InlineData(ReplyMode.Structured, true, 0u, "668e33ef 0001 0000 " + Cookie + "00000000")] // a read, never simple
    [InlineData(ReplyMode.Structured, false, 28u, "668e33ef 0001 8001 " + Cookie + "00000006 0000001c 0000")]
    [InlineData(ReplyMode.Extended, false, 0u, "6e8a278c 0001 0000 " + Cookie + Offset + "0000000000000000")]
    [InlineData(ReplyMode.Extended, true, 28u, "6e8a278c 0001 8001 " + Cookie + Offset + "0000000000000006 0000001c 0000")]
    public void Completion_takes_the_form_that_the_session_allows(ReplyMode mode, bool read, uint error, string expected) =>
        Same(expected, buffer => ReplyEncoder.WriteCompletion(buffer, mode, read ? s_read : s_trim, error));

    [Fact]
    public void Block_status_merges_neighbours_and_stops_at_the_end_of_the_request()
    {
        Same("668e33ef 0001 0005 " + Cookie + "00000014 00000007 00002000 00000003 00001000 00000000", buffer =>
        {
            var status = new BlockStatusEncoder(buffer, ReplyMode.Structured, s_read, contextId: 7, done: true);
            Assert.True(status.Add(0x1000, 3));
            Assert.True(status.Add(0, 0));
            Assert.True(status.Add(0x1000, 3));
            Assert.False(status.Add(0x100000, 0));
            Assert.Equal(0x3000UL, status.Covered);
            return status.Finish();
        });
    }

    [Fact]
    public void Extended_block_status_has_a_count_and_64_bit_descriptors()
    {
        var request = new RequestHeader(0, 7, 0x1122334455667788, 0x10000, 1UL << 40);
        Same("6e8a278c 0000 0006 " + Cookie + Offset + "0000000000000028 00000001 00000002"
             + "0000008000000000 0000000000000000 0000008000000000 0000000000000003", buffer =>
        {
            var status = new BlockStatusEncoder(buffer, ReplyMode.Extended, request, contextId: 1, done: false);
            Assert.True(status.Add(1UL << 39, 0));
            Assert.False(status.Add(ulong.MaxValue, 3));
            return status.Finish();
        });
    }

    [Fact]
    public void Request_one_ends_after_one_descriptor_that_may_be_merged()
    {
        var request = new RequestHeader((ushort)CommandFlags.RequestOne, 7, 0x1122334455667788, 0x10000, 0x3000);
        Same("668e33ef 0001 0005 " + Cookie + "0000000c 00000000 00002000 00000003", buffer =>
        {
            var status = new BlockStatusEncoder(buffer, ReplyMode.Structured, request, 0, done: true);
            Assert.True(status.Add(0x1000, 3));
            Assert.True(status.Add(0x1000, 3));
            Assert.False(status.Add(0x800, 0));
            Assert.False(status.Add(0x800, 3)); // not a neighbour any more
            return status.Finish();
        });
    }

    [Fact]
    public void Block_status_without_an_extent_is_a_bug_and_a_small_buffer_too()
    {
        Assert.Throws<InvalidOperationException>(
            () => new BlockStatusEncoder(new byte[64], ReplyMode.Structured, s_read, 0, true).Finish());
        Assert.Throws<ArgumentException>(() => new BlockStatusEncoder(new byte[31], ReplyMode.Structured, s_read, 0, true).Finish());
    }

    [Fact]
    public void Block_status_of_any_extents_fits_its_buffer_and_keeps_the_rules()
    {
        Prop.ForAll<(ushort Length, byte Flags)[], byte, bool>((extents, room, extended) =>
        {
            var mode = extended ? ReplyMode.Extended : ReplyMode.Structured;
            var request = new RequestHeader(0, 7, 1, 0, 100_000);
            var buffer = new byte[BlockStatusEncoder.BufferFor(mode, 1 + (room % 8))];
            var status = new BlockStatusEncoder(buffer, mode, request, 0, true);
            var more = status.Add(512, 1);
            for (var i = 0; more && i < extents.Length; i++)
                more = status.Add(extents[i].Length, extents[i].Flags % 3u);

            var descriptors = Descriptors(buffer.AsSpan(0, status.Finish()), mode);

            Assert.All(descriptors, extent => Assert.NotEqual(0UL, extent.Length));
            Assert.All(descriptors.Zip(descriptors.Skip(1)), pair => Assert.NotEqual(pair.First.Flags, pair.Second.Flags));
            Assert.Equal(status.Covered, descriptors.Aggregate(0UL, (sum, extent) => sum + extent.Length));
            Assert.True(status.Covered <= request.Length);
        }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void Hot_path_does_not_allocate()
    {
        var bytes = Request(1, 1, 5, 4096, 4096);
        var buffer = new byte[256];
        var rules = new RequestRules(Catalog.Disk, ReplyMode.Structured, hasContexts: true);
        Once(); // the JIT may allocate the first time

        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
            Once();
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());

        void Once()
        {
            RequestHeader.TryParse(bytes, false, out var header, out _);
            _ = rules.Validate(header, 1 << 24);
            ReplyEncoder.WriteReadHeader(buffer, ReplyMode.Structured, header);
            ReplyEncoder.WriteCompletion(buffer, ReplyMode.Structured, header, 5, "broken"u8);
            var status = new BlockStatusEncoder(buffer, ReplyMode.Structured, header, 0, true);
            status.Add(512, 1);
            status.Add(4096, 0);
            status.Finish();
        }
    }

    private static List<(ulong Length, ulong Flags)> Descriptors(ReadOnlySpan<byte> chunk, ReplyMode mode)
    {
        var extents = new List<(ulong, ulong)>();
        for (var rest = chunk[(mode == ReplyMode.Extended ? 40 : 24)..]; !rest.IsEmpty; rest =
            rest[(mode == ReplyMode.Extended ? 16 : 8)..])
        {
            var half = mode == ReplyMode.Extended ? 8 : 4;
            extents.Add(
                (Convert.ToUInt64(Convert.ToHexString(rest[..half]), 16),
                    Convert.ToUInt64(Convert.ToHexString(rest[half..(2 * half)]), 16)));
        }

        return extents;
    }

    private static void Same(string expected, Encode encode)
    {
        var buffer = new byte[256];
        Array.Fill(buffer, (byte)0xcc);
        var written = encode(buffer);
        Assert.Equal(Convert.ToHexString(Hex(expected)), Convert.ToHexString(buffer.AsSpan(0, written)));
        Assert.Equal(0xcc, buffer[written]); // nothing beyond what it says
    }
}
