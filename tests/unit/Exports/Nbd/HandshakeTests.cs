using System;
using System.Buffers;
using System.Linq;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Protocol;
using Xunit;
using static Qcow2Blk.Tests.Exports.Nbd.Wire;

namespace Qcow2Blk.Tests.Exports.Nbd;

/// <summary>Each option, asked well: the answers that the specification gives.</summary>
public sealed class HandshakeTests
{
    // HAS_FLAGS, FLUSH, FUA, TRIM, WRITE_ZEROES, CAN_MULTI_CONN, CACHE, FAST_ZERO; with DF (bit 7) once chunks are negotiated.
    private const string DiskFlags = "0d6d";
    private const string DiskFlagsWithDf = "0ded";

    [Fact]
    public void Greeting_is_that_of_the_specification()
    {
        var output = new ArrayBufferWriter<byte>();

        Handshake.Greeting(output);

        Assert.Equal(Hex("4e42444d41474943 49484156454F5054 0003"), output.WrittenSpan.ToArray());
    }

    [Fact]
    public void Export_name_is_answered_with_size_flags_and_124_zeroes()
    {
        var outcome = Outcome.Of(Catalog.Two, FixedNewstyle, ExportName("disk"));

        Assert.Equal(HandshakeStatus.Transmission, outcome.Status);
        Assert.Equal(Join(Hex("0000000001000000"), Hex(DiskFlags), new byte[124]), outcome.Output);
        Assert.Equal(ReplyMode.Simple, outcome.Session.ReplyMode);
        Assert.False(outcome.Session.BlockSizesRequested);
    }

    [Fact]
    public void Export_name_leaves_the_zeroes_out_when_the_client_said_so()
    {
        var outcome = Outcome.Of(Catalog.Two, FixedNewstyleNoZeroes, ExportName(""));

        Assert.Equal(Join(Hex("0000000001000000"), Hex(DiskFlags)), outcome.Output);
        Assert.Equal("disk", outcome.Session.Export.Name);
    }

    [Fact]
    public void Export_name_works_for_a_client_without_fixed_newstyle()
    {
        var outcome = Outcome.Of(Catalog.Two, Hex("00000000"), ExportName("disk"));

        Assert.Equal(HandshakeStatus.Transmission, outcome.Status);
    }

    [Fact]
    public void Read_only_export_offers_no_writing()
    {
        var outcome = Outcome.Of(Catalog.Two, FixedNewstyleNoZeroes, ExportName("früh"));

        Assert.Equal(Hex("0000000000100000 000f"), outcome.Output);
    }

    [Fact]
    public void Go_tells_all_it_knows_and_starts_transmission()
    {
        var outcome = Outcome.Of(Catalog.Two, FixedNewstyleNoZeroes, Go("", 1, 2, 3));

        Assert.Equal(HandshakeStatus.Transmission, outcome.Status);
        var replies = outcome.Replies;
        Assert.All(replies, reply => Assert.Equal(7u, reply.Option));
        Assert.Equal(Join(U16(1), Text("disk")), replies[0].Data);
        Assert.Equal(Join(U16(2), Text("a disk")), replies[1].Data);
        Assert.Equal(Hex("0003 00000001 00010000 02000000"), replies[2].Data);
        Assert.Equal(Hex("0000 0000000001000000" + DiskFlags), replies[3].Data);
        Assert.Equal([3u, 3u, 3u, 3u, OptionReply.Ack], replies.Select(reply => reply.Type));
        Assert.True(outcome.Session.BlockSizesRequested);
    }

    [Fact]
    public void Info_answers_like_go_and_goes_on()
    {
        var info = Outcome.Of(Catalog.Two, FixedNewstyle, Info("disk", 3));
        var go = Outcome.Of(Catalog.Two, FixedNewstyle, Go("disk", 3));

        Assert.Equal(HandshakeStatus.NeedMore, info.Status);
        Assert.Equal(go.Replies.Select(reply => Convert.ToHexString(reply.Data)),
            info.Replies.Select(reply => Convert.ToHexString(reply.Data)));
    }

    [Fact]
    public void Go_without_information_requests_does_not_count_as_a_promise_about_block_sizes() =>
        Assert.False(Outcome.Of(Catalog.Two, FixedNewstyle, Go("disk")).Session.BlockSizesRequested);

    [Fact]
    public void List_names_every_export_with_its_description()
    {
        var outcome = Outcome.Of(Catalog.Two, FixedNewstyle, List());

        var replies = outcome.Replies;
        Assert.Equal([OptionReply.Server, OptionReply.Server, OptionReply.Ack], replies.Select(reply => reply.Type));
        Assert.Equal(Join(Counted("disk"), Text("a disk")), replies[0].Data);
        Assert.Equal(Counted("früh"), replies[1].Data);
    }

    [Fact]
    public void Abort_is_acknowledged_then_closed_whatever_data_it_has()
    {
        var outcome = Outcome.Of(Catalog.Two, FixedNewstyle, Option(2, Hex("dead")));

        Assert.Equal(HandshakeStatus.Close, outcome.Status);
        Assert.Equal(Hex("0003e889045565a9 00000002 00000001 00000000"), outcome.Output);
        Assert.Null(outcome.Handshake.CloseReason);
    }

    [Fact]
    public void Structured_replies_bring_the_do_not_fragment_flag()
    {
        var outcome = Outcome.Of(Catalog.Two, FixedNewstyle, StructuredReply(), Go("disk"));

        Assert.Equal(ReplyMode.Structured, outcome.Session.ReplyMode);
        Assert.Contains(outcome.Replies, reply => reply.Data.AsSpan().SequenceEqual(Hex("0000 0000000001000000" + DiskFlagsWithDf)));
    }

    [Fact]
    public void Extended_headers_need_no_structured_replies_first_and_win_over_them()
    {
        var alone = Outcome.Of(Catalog.Two, FixedNewstyle, ExtendedHeaders(), Go("disk"));
        var both = Outcome.Of(Catalog.Two, FixedNewstyle, StructuredReply(), ExtendedHeaders(), Go("disk"));

        Assert.True(alone.Session.ExtendedHeaders && alone.Session.StructuredReplies);
        Assert.Equal(Hex("0003e889045565a9 0000000b 00000001 00000000"), alone.Output[..20]);
        Assert.Equal(ReplyMode.Extended, both.Session.ReplyMode);
    }

    [Fact]
    public void Structured_replies_after_extended_headers_are_refused_with_the_error_made_for_it()
    {
        var outcome = Outcome.Of(Catalog.Two, FixedNewstyle, ExtendedHeaders(), StructuredReply(), Go("disk"));

        Assert.Equal(OptionReply.ExtendedHeadersRequired, outcome.Replies[1].Type);
        Assert.Equal(ReplyMode.Extended, outcome.Session.ReplyMode);
    }

    [Fact]
    public void Asking_twice_for_structured_replies_is_harmless()
    {
        var outcome = Outcome.Of(Catalog.Two, FixedNewstyle, StructuredReply(), StructuredReply(), Go("disk"));

        Assert.Equal([OptionReply.Ack, OptionReply.Ack], outcome.Replies.Take(2).Select(reply => reply.Type));
        Assert.Equal(ReplyMode.Structured, outcome.Session.ReplyMode);
    }

    [Fact]
    public void Bytes_after_go_belong_to_transmission()
    {
        var request = Request(0, 3, 1, 0, 0);

        var outcome = Outcome.Of(Catalog.Two, FixedNewstyle, Go("disk"), request);

        Assert.Equal(FixedNewstyle.Length + Go("disk").Length, outcome.Consumed);
    }

    [Fact]
    public void Handshake_that_ended_takes_no_more_bytes()
    {
        var outcome = Outcome.Of(Catalog.Two, FixedNewstyle, Go("disk"));

        Assert.Throws<InvalidOperationException>(() => outcome.Handshake.Advance([], out _, new ArrayBufferWriter<byte>()));
    }
}
