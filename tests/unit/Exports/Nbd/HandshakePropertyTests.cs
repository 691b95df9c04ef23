using System;
using System.Buffers;
using System.Linq;
using FsCheck;
using FsCheck.Fluent;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Protocol;
using Xunit;
using static Qcow2Blk.Tests.Exports.Nbd.Wire;

namespace Qcow2Blk.Tests.Exports.Nbd;

/// <summary>Bytes cut, changed or made up: no exception, no memory without bound, no dependence on how they arrive.</summary>
public sealed class HandshakePropertyTests
{
    private static readonly byte[] s_valid = Join(
        FixedNewstyleNoZeroes, Option(5), ExtendedHeaders(), List(), Info("früh", 0, 1, 2, 3), ListContexts("disk", "base:", "qemu:"),
        SetContexts("disk", "base:allocation", "qemu:allocation-depth", "x-other:y"), Go("disk", 3));

    [Fact]
    public void Every_truncation_waits_for_more_and_then_ends_as_the_whole()
    {
        var whole = Outcome.Of(Catalog.Two, s_valid);
        for (var cut = 0; cut < s_valid.Length; cut++)
        {
            var handshake = new Handshake(Catalog.Two);
            var output = new ArrayBufferWriter<byte>();

            var first = handshake.Advance(s_valid.AsSpan(0, cut), out var consumed, output);
            var second = handshake.Advance(s_valid.AsSpan(consumed), out var rest, output);

            Assert.Equal((HandshakeStatus.NeedMore, HandshakeStatus.Transmission), (first, second));
            Assert.Equal(s_valid.Length, consumed + rest);
            Assert.Equal(whole.Output, output.WrittenSpan.ToArray());
        }
    }

    [Fact]
    public void Every_single_byte_corruption_ends_or_goes_on_in_an_orderly_way()
    {
        for (var position = 0; position < s_valid.Length; position++)
        {
            for (var value = 0; value < 256; value++)
            {
                var bytes = (byte[])s_valid.Clone();
                bytes[position] = (byte)value;
                Survives(bytes);
            }
        }
    }

    [Fact]
    public void Any_bytes_are_answered_in_an_orderly_way() =>
        Prop.ForAll<byte[]>(bytes => Survives(Join(FixedNewstyle, bytes))).QuickCheckThrowOnFailure();

    [Fact]
    public void Any_data_of_any_option_is_answered_and_the_next_option_is_understood()
    {
        var options = Gen.Elements<uint>(3, 4, 5, 6, 8, 9, 10, 11, 12).ToArbitrary();
        Prop.ForAll(options, ArbMap.Default.ArbFor<byte[]>(), (option, data) =>
        {
            var outcome = Outcome.Of(Catalog.Two, FixedNewstyle, StructuredReply(), Option(option, data), Go("disk"));
            Assert.Equal(HandshakeStatus.Transmission, outcome.Status);
            Assert.Equal([option], outcome.Replies.Skip(1).Select(reply => reply.Option).Where(number => number != 7).Distinct());
        }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void How_bytes_are_split_does_not_matter()
    {
        var whole = Outcome.Of(Catalog.Two, s_valid);
        Prop.ForAll<PositiveInt[]>(sizes =>
        {
            var handshake = new Handshake(Catalog.Two);
            var output = new ArrayBufferWriter<byte>();
            var (start, end, i) = (0, 0, 0);
            var status = HandshakeStatus.NeedMore;
            while (status == HandshakeStatus.NeedMore)
            {
                end = Math.Min(s_valid.Length, end + (sizes.Length == 0 ? 1 : sizes[i++ % sizes.Length].Get));
                status = handshake.Advance(s_valid.AsSpan(start, end - start), out var consumed, output);
                start += consumed;
            }

            Assert.Equal(whole.Status, status);
            Assert.Equal(whole.Output, output.WrittenSpan.ToArray());
        }).QuickCheckThrowOnFailure();
    }

    /// <summary>Feeds bytes as a connection does: never more than the buffer that the protocol names.</summary>
    private static void Survives(byte[] bytes)
    {
        var handshake = new Handshake(Catalog.Two);
        var output = new ArrayBufferWriter<byte>();
        var start = 0;
        while (start < bytes.Length)
        {
            var input = bytes.AsSpan(start, Math.Min(bytes.Length - start, NbdProtocol.HandshakeBufferSize));
            var status = handshake.Advance(input, out var consumed, output);
            start += consumed;
            if (status == HandshakeStatus.Transmission)
                Assert.NotNull(handshake.Session.Export);
            if (status != HandshakeStatus.NeedMore)
                break;
            if (consumed == 0)
            {
                // It may wait for more only while its buffer has room.
                Assert.True(input.Length < NbdProtocol.HandshakeBufferSize);
                break;
            }
        }

        Assert.True(output.WrittenCount < 128 * 1024, $"{output.WrittenCount} bytes of output for {bytes.Length} of input");
    }
}
