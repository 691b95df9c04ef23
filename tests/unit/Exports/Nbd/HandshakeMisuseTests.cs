using System;
using System.Buffers;
using System.Linq;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Protocol;
using Xunit;
using static Qcow2Blk.Tests.Exports.Nbd.Wire;

namespace Qcow2Blk.Tests.Exports.Nbd;

/// <summary>What a server must answer to a client that does not keep the rules.</summary>
public sealed class HandshakeMisuseTests
{
    [Theory]
    [InlineData("00000004")]
    [InlineData("80000001")]
    [InlineData("00010003")]
    public void Unknown_client_flags_close(string flags)
    {
        var outcome = Outcome.Of(Catalog.Two, Hex(flags));

        Assert.Equal(HandshakeStatus.Close, outcome.Status);
        Assert.Contains("client flags", outcome.Handshake.CloseReason);
        Assert.Empty(outcome.Output);
    }

    [Fact]
    public void Bad_option_magic_closes_as_soon_as_it_is_seen()
    {
        var outcome = Outcome.Of(Catalog.Two, FixedNewstyle, Hex("49484156454F5055"));

        Assert.Equal(HandshakeStatus.Close, outcome.Status);
        Assert.Contains("0x49484156454f5055", outcome.Handshake.CloseReason);
    }

    [Theory]
    [InlineData(4)]
    [InlineData(0)]
    [InlineData(12)]
    [InlineData(0xffffffff)]
    public void Unknown_option_is_unsupported_and_the_connection_lives_on(uint option)
    {
        var outcome = Outcome.Of(Catalog.Two, FixedNewstyle, Option(option, Hex("0102030405")), Go("disk"));

        Assert.Equal((option, OptionReply.Unsupported), (outcome.Replies[0].Option, outcome.Replies[0].Type));
        Assert.NotEmpty(outcome.Replies[0].Text);
        Assert.Equal(HandshakeStatus.Transmission, outcome.Status);
    }

    [Fact]
    public void Starttls_is_unsupported_and_says_so()
    {
        var outcome = Outcome.Of(Catalog.Two, FixedNewstyle, Option(5));

        Assert.Equal(OptionReply.Unsupported, outcome.Replies[0].Type);
        Assert.Contains("tls", outcome.Replies[0].Text);
    }

    [Theory]
    [InlineData(3)]
    [InlineData(5)]
    [InlineData(8)]
    [InlineData(11)]
    public void Data_where_none_belongs_is_invalid_and_changes_nothing(uint option)
    {
        var outcome = Outcome.Of(Catalog.Two, FixedNewstyle, Option(option, Hex("00")), Go("disk"));

        Assert.Equal(OptionReply.Invalid, outcome.Replies[0].Type);
        Assert.Equal(ReplyMode.Simple, outcome.Session.ReplyMode);
    }

    [Fact]
    public void Unknown_export_is_an_error_to_go_and_the_end_for_export_name()
    {
        var go = Outcome.Of(Catalog.Two, FixedNewstyle, Go("nope"));
        var exportName = Outcome.Of(Catalog.Two, FixedNewstyle, ExportName("nope"));

        Assert.Equal((HandshakeStatus.NeedMore, OptionReply.Unknown), (go.Status, go.Replies.Single().Type));
        Assert.Contains("nope", go.Replies.Single().Text);
        Assert.Equal(HandshakeStatus.Close, exportName.Status);
        Assert.Empty(exportName.Output);
    }

    [Fact]
    public void Missing_default_export_is_unknown() =>
        Assert.Equal(OptionReply.Unknown, Outcome.Of(new Catalog(), FixedNewstyle, Go("")).Replies.Single().Type);

    [Theory]
    [InlineData("")]
    [InlineData("000000")]
    [InlineData("00000005 6469736b")] // the name is longer than the option
    [InlineData("ffffffff 6469736b 0000")]
    [InlineData("00000004 6469736b")] // no count
    [InlineData("00000004 6469736b 0001")] // a request is missing
    [InlineData("00000004 6469736b 0001 000300")]
    [InlineData("00000004 6469736b 0000 0003")] // one too many
    [InlineData("00000004 64690073 0000")] // NUL in the name
    [InlineData("00000002 c328 0000")] // no UTF-8
    public void Malformed_go_is_invalid_and_the_connection_lives_on(string data)
    {
        var outcome = Outcome.Of(Catalog.Two, FixedNewstyle, Option(7, Hex(data)));

        Assert.Equal((HandshakeStatus.NeedMore, OptionReply.Invalid), (outcome.Status, outcome.Replies.Single().Type));
        Assert.NotEmpty(outcome.Replies.Single().Text);
    }

    [Theory]
    [InlineData("00000004 6469736b")] // no count
    [InlineData("00000004 6469736b 00000001")] // a query is missing
    [InlineData("00000004 6469736b 00000001 00000010 62617365")] // its length lies
    [InlineData("00000004 6469736b ffffffff 00000005 626173653a")]
    [InlineData("00000004 6469736b 00000001 00000004 62617365")] // no colon
    [InlineData("00000004 6469736b 00000001 00000000")] // empty
    [InlineData("00000004 6469736b 00000001 00000006 626173653aff")] // no UTF-8
    [InlineData("00000004 6469736b 00000000 00")] // bytes left over
    public void Malformed_queries_are_invalid_without_a_single_context_told(string data)
    {
        var outcome = Outcome.Of(Catalog.Two, FixedNewstyle, StructuredReply(), Option(9, Hex(data)), Option(10, Hex(data)));

        Assert.Equal([OptionReply.Ack, OptionReply.Invalid, OptionReply.Invalid], outcome.Replies.Select(reply => reply.Type));
    }

    [Theory]
    [InlineData(4096, OptionReply.Unknown)]
    [InlineData(4097, OptionReply.Invalid)]
    public void Names_are_limited_to_4096_bytes(int length, uint expected)
    {
        var outcome = Outcome.Of(Catalog.Two, FixedNewstyle, Go(new string('x', length)));

        Assert.Equal(expected, outcome.Replies.Single().Type);
    }

    [Fact]
    public void Control_characters_of_a_name_do_not_come_back_in_messages()
    {
        var outcome = Outcome.Of(Catalog.Two, FixedNewstyle, Go("a\u001b[31m\nb"));

        Assert.DoesNotContain('\u001b', outcome.Replies.Single().Text);
        Assert.DoesNotContain('\n', outcome.Replies.Single().Text);
    }

    [Theory]
    [InlineData(16385)]
    [InlineData(32 << 20)]
    public void Option_that_is_too_long_is_refused_at_once_and_skipped_without_being_kept(uint length)
    {
        var handshake = new Handshake(Catalog.Two);
        var output = new ArrayBufferWriter<byte>();
        handshake.Advance(Join(FixedNewstyle, Hex("49484156454F5054 00000007"), U32(length)), out _, output);
        Assert.Equal(OptionReply.TooBig, OptionReply.Parse(output.WrittenSpan).Single().Type);

        var junk = new byte[65536];
        var (left, taken, status) = (length, 1, HandshakeStatus.NeedMore);
        var allocated = GC.GetAllocatedBytesForCurrentThread();
        while (left > 0 && taken > 0 && status == HandshakeStatus.NeedMore)
        {
            status = handshake.Advance(junk.AsSpan(0, (int)Math.Min(left, (uint)junk.Length)), out taken, output);
            left -= (uint)taken;
        }

        Assert.Equal(allocated, GC.GetAllocatedBytesForCurrentThread());
        Assert.Equal(0u, left);
        Assert.Equal(HandshakeStatus.Transmission, handshake.Advance(Go("disk"), out _, output));
    }

    [Fact]
    public void Set_context_that_is_too_long_drops_what_was_set_before()
    {
        var outcome = Outcome.Of(
            Catalog.Two, FixedNewstyle, StructuredReply(), SetContexts("disk", "base:allocation"), Option(10, new byte[20000]), Go("disk"));

        Assert.Empty(outcome.Session.Contexts);
    }

    [Fact]
    public void Absurdly_long_option_is_answered_and_closed()
    {
        var outcome = Outcome.Of(Catalog.Two, FixedNewstyle, Hex("49484156454F5054 00000003 02000001"));

        Assert.Equal(HandshakeStatus.Close, outcome.Status);
        Assert.Equal(OptionReply.TooBig, outcome.Replies.Single().Type);
    }

    [Theory]
    [InlineData("00004001")]
    [InlineData("ffffffff")]
    public void Too_long_export_name_closes_because_it_has_no_error_reply(string length)
    {
        var outcome = Outcome.Of(Catalog.Two, FixedNewstyle, Hex("49484156454F5054 00000001" + length));

        Assert.Equal(HandshakeStatus.Close, outcome.Status);
        Assert.Empty(outcome.Output);
    }

    [Fact]
    public void Client_that_never_stops_asking_is_closed()
    {
        var handshake = new Handshake(Catalog.Two);
        var output = new ArrayBufferWriter<byte>();
        handshake.Advance(FixedNewstyle, out _, output);

        for (var i = 0; i < 128; i++)
            Assert.Equal(HandshakeStatus.NeedMore, handshake.Advance(StructuredReply(), out _, output));

        Assert.Equal(HandshakeStatus.Close, handshake.Advance(StructuredReply(), out _, output));
        Assert.Contains("128", handshake.CloseReason);
    }

    [Fact]
    public void Options_of_a_client_without_fixed_newstyle_close()
    {
        var outcome = Outcome.Of(Catalog.Two, Hex("00000000"), List());

        Assert.Equal(HandshakeStatus.Close, outcome.Status);
        Assert.Empty(outcome.Output);
    }
}
