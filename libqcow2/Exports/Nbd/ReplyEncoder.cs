using System;
using System.Buffers.Binary;
using Qcow2Blk.Protocol;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>
/// Writes replies of the transmission phase into the caller's memory. Nothing here allocates; every method returns the
/// bytes it wrote, and throws <see cref="ArgumentException"/> if the memory is too short (a bug of the caller).
/// </summary>
internal static class ReplyEncoder
{
    public const int SimpleReplySize = 16;

    public const int StructuredChunkSize = 20;

    public const int ExtendedChunkSize = 32;

    /// <summary>Bytes of the offset before the data of NBD_REPLY_TYPE_OFFSET_DATA.</summary>
    public const int OffsetDataPrefix = 8;

    /// <summary>Bytes of the payload of NBD_REPLY_TYPE_OFFSET_HOLE.</summary>
    public const int OffsetHolePayload = 12;

    /// <summary>
    /// Memory that is enough for every reply but data, messages and block status: an extended header and the larger of
    /// the fixed payloads.
    /// </summary>
    public const int MaxFixedReply = ExtendedChunkSize + OffsetHolePayload;

    /// <summary>Bytes of a chunk header in a mode that has chunks.</summary>
    public static int ChunkHeaderSize(ReplyMode mode) => mode == ReplyMode.Extended ? ExtendedChunkSize : StructuredChunkSize;

    /// <summary>
    /// Bytes before the data of a read that is answered whole: the simple reply, or a chunk header and the offset.
    /// </summary>
    public static int ReadHeaderSize(ReplyMode mode) =>
        mode == ReplyMode.Simple ? SimpleReplySize : ChunkHeaderSize(mode) + OffsetDataPrefix;

    /// <summary>A simple reply. For reads with error 0 the data follows, without which the stream is out of step.</summary>
    public static int WriteSimple(Span<byte> destination, in RequestHeader request, uint error)
    {
        BinaryPrimitives.WriteUInt64BigEndian(destination[8..], request.Cookie);
        BinaryPrimitives.WriteUInt32BigEndian(destination[4..], error);
        BinaryPrimitives.WriteUInt32BigEndian(destination, NbdProtocol.SimpleReplyMagic);
        return SimpleReplySize;
    }

    /// <summary>A chunk header, structured or extended; <paramref name="length"/> bytes of payload must follow.</summary>
    public static int WriteChunk(Span<byte> destination, ReplyMode mode, in RequestHeader request, ReplyFlags flags, ReplyType type,
        uint length)
    {
        var header = destination[..ChunkHeaderSize(mode)];
        BinaryPrimitives.WriteUInt16BigEndian(header[4..], (ushort)flags);
        BinaryPrimitives.WriteUInt16BigEndian(header[6..], (ushort)type);
        BinaryPrimitives.WriteUInt64BigEndian(header[8..], request.Cookie);
        if (mode == ReplyMode.Extended)
        {
            BinaryPrimitives.WriteUInt32BigEndian(header, NbdProtocol.ExtendedReplyMagic);
            BinaryPrimitives.WriteUInt64BigEndian(header[16..], request.Offset);
            BinaryPrimitives.WriteUInt64BigEndian(header[24..], length);
            return ExtendedChunkSize;
        }

        BinaryPrimitives.WriteUInt32BigEndian(header, NbdProtocol.StructuredReplyMagic);
        BinaryPrimitives.WriteUInt32BigEndian(header[16..], length);
        return StructuredChunkSize;
    }

    /// <summary>
    /// What goes before the data of a successful read answered whole, in any mode. The caller sends
    /// <c>request.Length</c> bytes after it; for a length of 0 use <see cref="WriteCompletion"/>.
    /// </summary>
    public static int WriteReadHeader(Span<byte> destination, ReplyMode mode, in RequestHeader request) =>
        mode == ReplyMode.Simple
            ? WriteSimple(destination, request, NbdErrors.Success)
            : WriteOffsetData(destination, mode, request, request.Offset, (uint)request.Length, done: true);

    /// <summary>The header and offset of NBD_REPLY_TYPE_OFFSET_DATA; the data must follow.</summary>
    /// <param name="destination">where to write</param>
    /// <param name="mode">structured or extended</param>
    /// <param name="request">the read</param>
    /// <param name="offset">first byte of the data, counted from the start of the export</param>
    /// <param name="length">bytes of data, not 0</param>
    /// <param name="done">this is the last chunk; only if the data is complete and no error can come any more</param>
    public static int WriteOffsetData(Span<byte> destination, ReplyMode mode, in RequestHeader request, ulong offset, uint length,
        bool done)
    {
        var written = WriteChunk(destination, mode, request, FlagsOf(done), ReplyType.OffsetData, checked(OffsetDataPrefix + length));
        BinaryPrimitives.WriteUInt64BigEndian(destination[written..], offset);
        return written + OffsetDataPrefix;
    }

    /// <summary>NBD_REPLY_TYPE_OFFSET_HOLE: <paramref name="length"/> (not 0) zeroes that are not sent.</summary>
    public static int WriteOffsetHole(Span<byte> destination, ReplyMode mode, in RequestHeader request, ulong offset, uint length,
        bool done)
    {
        var written = WriteChunk(destination, mode, request, FlagsOf(done), ReplyType.OffsetHole, OffsetHolePayload);
        BinaryPrimitives.WriteUInt64BigEndian(destination[written..], offset);
        BinaryPrimitives.WriteUInt32BigEndian(destination[(written + 8)..], length);
        return written + OffsetHolePayload;
    }

    /// <summary>NBD_REPLY_TYPE_NONE: the end of a reply; success if no error chunk came before.</summary>
    public static int WriteNone(Span<byte> destination, ReplyMode mode, in RequestHeader request) =>
        WriteChunk(destination, mode, request, ReplyFlags.Done, ReplyType.None, 0);

    /// <summary>NBD_REPLY_TYPE_ERROR as the last chunk.</summary>
    /// <param name="destination">where to write: header, 6 bytes and the message</param>
    /// <param name="mode">structured or extended</param>
    /// <param name="request">what failed</param>
    /// <param name="error">not 0</param>
    /// <param name="message">UTF-8 for people; what is longer than the protocol allows is cut off</param>
    public static int WriteError(Span<byte> destination, ReplyMode mode, in RequestHeader request, uint error, ReadOnlySpan<byte> message)
    {
        message = NbdText.Truncate(message);
        var written = WriteChunk(destination, mode, request, ReplyFlags.Done, ReplyType.Error, (uint)(6 + message.Length));
        WriteErrorFields(destination[written..], error, message);
        return written + 6 + message.Length;
    }

    /// <summary>NBD_REPLY_TYPE_ERROR_OFFSET: a read or write failed at <paramref name="offset"/>, which lies in the request.</summary>
    public static int WriteErrorOffset(
        Span<byte> destination, ReplyMode mode, in RequestHeader request, uint error, ReadOnlySpan<byte> message, ulong offset, bool done)
    {
        message = NbdText.Truncate(message);
        var written = WriteChunk(destination, mode, request, FlagsOf(done), ReplyType.ErrorOffset, (uint)(14 + message.Length));
        WriteErrorFields(destination[written..], error, message);
        BinaryPrimitives.WriteUInt64BigEndian(destination[(written + 6 + message.Length)..], offset);
        return written + 14 + message.Length;
    }

    /// <summary>
    /// The whole reply to a request without data to send: success or failure of anything but a read or block status, and
    /// failure of those (or a read of length 0). Picks the shortest form that the session allows.
    /// </summary>
    public static int WriteCompletion(Span<byte> destination, ReplyMode mode, in RequestHeader request, uint error,
        ReadOnlySpan<byte> message = default)
    {
        if (mode == ReplyMode.Simple)
            return WriteSimple(destination, request, error);
        if (error != NbdErrors.Success)
            return WriteError(destination, mode, request, error, message);
        return mode == ReplyMode.Structured && request.Command != NbdCommand.Read
            ? WriteSimple(destination, request, NbdErrors.Success)
            : WriteNone(destination, mode, request);
    }

    private static void WriteErrorFields(Span<byte> destination, uint error, ReadOnlySpan<byte> message)
    {
        BinaryPrimitives.WriteUInt32BigEndian(destination, error);
        BinaryPrimitives.WriteUInt16BigEndian(destination[4..], (ushort)message.Length);
        message.CopyTo(destination[6..]);
    }

    private static ReplyFlags FlagsOf(bool done) => done ? ReplyFlags.Done : ReplyFlags.None;
}
