using System.Linq;
using Qcow2Blk.Exports.Nbd;
using Xunit;
using static Qcow2Blk.Tests.Exports.Nbd.Wire;

namespace Qcow2Blk.Tests.Exports.Nbd;

/// <summary>NBD_OPT_LIST_META_CONTEXT and NBD_OPT_SET_META_CONTEXT ("Metadata querying").</summary>
public sealed class HandshakeMetaContextTests
{
    private static readonly byte[] s_baseAllocation = Text("base:allocation");
    private static readonly byte[] s_allocationDepth = Text("qemu:allocation-depth");

    [Theory]
    [InlineData(new string[0], new[] { "base:allocation", "qemu:allocation-depth" })]
    [InlineData(new[] { "base:" }, new[] { "base:allocation" })]
    [InlineData(new[] { "qemu:" }, new[] { "qemu:allocation-depth" })]
    [InlineData(new[] { "qemu:allocation-depth", "base:allocation", "base:" }, new[] { "base:allocation", "qemu:allocation-depth" })]
    [InlineData(new[] { "base:nothing", "x-mine:all", "qemu:dirty-bitmap:b", "nbd-server:" }, new string[0])]
    public void List_answers_queries_with_the_contexts_they_match(string[] queries, string[] expected)
    {
        var outcome = Outcome.Of(Catalog.Two, FixedNewstyle, StructuredReply(), ListContexts("disk", queries));

        var replies = outcome.Replies.Skip(1).ToList();
        Assert.Equal(expected.Select(name => OptionReply.MetaContext).Append(OptionReply.Ack), replies.Select(reply => reply.Type));
        Assert.Equal(expected, replies.SkipLast(1).Select(reply => reply.Text[4..]));
        Assert.All(replies.SkipLast(1), reply => Assert.Equal(U32(0), reply.Data[..4]));
    }

    [Fact]
    public void Set_selects_exact_names_and_gives_each_a_number_of_its_own()
    {
        var outcome = Outcome.Of(
            Catalog.Two, FixedNewstyle, StructuredReply(), SetContexts("disk", "qemu:allocation-depth", "base:allocation"), Go("disk"));

        Assert.Equal(Join(U32(0), s_baseAllocation), outcome.Replies[1].Data);
        Assert.Equal(Join(U32(1), s_allocationDepth), outcome.Replies[2].Data);
        Assert.Equal(OptionReply.Ack, outcome.Replies[3].Type);
        Assert.Equal(
            [new NegotiatedContext(0, MetaContextKind.BaseAllocation), new NegotiatedContext(1, MetaContextKind.QemuAllocationDepth)],
            outcome.Session.Contexts);
    }

    [Theory]
    [InlineData("base:")]
    [InlineData("qemu:")]
    [InlineData("base:nothing")]
    [InlineData("x-other:thing")]
    public void Set_ignores_wildcards_and_unknown_names(string query)
    {
        var outcome = Outcome.Of(Catalog.Two, FixedNewstyle, StructuredReply(), SetContexts("disk", query), Go("disk"));

        Assert.Equal(OptionReply.Ack, outcome.Replies[1].Type);
        Assert.Empty(outcome.Session.Contexts);
    }

    [Fact]
    public void Set_twice_keeps_only_the_second()
    {
        var outcome = Outcome.Of(
            Catalog.Two, FixedNewstyle, StructuredReply(),
            SetContexts("disk", "base:allocation"), SetContexts("disk", "qemu:allocation-depth"), Go("disk"));

        Assert.Equal([new NegotiatedContext(1, MetaContextKind.QemuAllocationDepth)], outcome.Session.Contexts);
    }

    [Fact]
    public void Set_without_queries_selects_nothing()
    {
        var outcome = Outcome.Of(
            Catalog.Two, FixedNewstyle, StructuredReply(), SetContexts("disk", "base:allocation"), SetContexts("disk"), Go("disk"));

        Assert.Empty(outcome.Session.Contexts);
    }

    [Fact]
    public void Set_that_fails_drops_what_was_set_before()
    {
        var malformed = Option(10, Counted("disk"), U32(1), U32(99), Text("base:allocation"));

        var outcome = Outcome.Of(
            Catalog.Two, FixedNewstyle, StructuredReply(), SetContexts("disk", "base:allocation"), malformed, Go("disk"));

        Assert.Contains(outcome.Replies, reply => reply.Type == OptionReply.Invalid);
        Assert.Empty(outcome.Session.Contexts);
    }

    [Fact]
    public void Contexts_are_dropped_when_another_export_is_opened()
    {
        var outcome = Outcome.Of(
            Catalog.Two, FixedNewstyle, StructuredReply(), SetContexts("disk", "base:allocation"), Go("früh"));

        Assert.Empty(outcome.Session.Contexts);
    }

    [Fact]
    public void Default_export_and_its_name_are_the_same_export_to_contexts()
    {
        var outcome = Outcome.Of(
            Catalog.Two, FixedNewstyle, StructuredReply(), SetContexts("", "base:allocation"), ExportName("disk"));

        Assert.Single(outcome.Session.Contexts);
    }

    [Theory]
    [InlineData(9)]
    [InlineData(10)]
    public void Contexts_before_structured_replies_are_invalid(uint option)
    {
        var outcome = Outcome.Of(Catalog.Two, FixedNewstyle, Option(option, Queries("disk", "base:allocation")), Go("disk"));

        Assert.Equal(OptionReply.Invalid, outcome.Replies[0].Type);
        Assert.Empty(outcome.Session.Contexts);
    }

    [Fact]
    public void Extended_headers_are_enough_for_contexts()
    {
        var outcome = Outcome.Of(Catalog.Two, FixedNewstyle, ExtendedHeaders(), SetContexts("disk", "base:allocation"), Go("disk"));

        Assert.Single(outcome.Session.Contexts);
    }

    [Theory]
    [InlineData(9)]
    [InlineData(10)]
    public void Contexts_of_an_unknown_export_are_answered_as_unknown(uint option)
    {
        var outcome = Outcome.Of(Catalog.Two, FixedNewstyle, StructuredReply(), Option(option, Queries("nope", "base:allocation")));

        Assert.Equal(OptionReply.Unknown, outcome.Replies[1].Type);
    }
}
