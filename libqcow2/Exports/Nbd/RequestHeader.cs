using System;
using System.Buffers.Binary;
using Qcow2Blk.Protocol;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>
/// The header of a request ("Request message"): magic 4, flags 2, type 2, cookie 8, offset 8, length 4 bytes, or 8
/// with extended headers.
/// </summary>
internal readonly struct RequestHeader(ushort flags, ushort type, ulong cookie, ulong offset, ulong length)
{
    public const int CompactSize = 28;

    public const int ExtendedSize = 32;

    /// <summary><see cref="CommandFlags"/>, unknown bits included.</summary>
    public ushort Flags { get; } = flags;

    /// <summary><see cref="NbdCommand"/>, or a number that is none.</summary>
    public ushort Type { get; } = type;

    /// <summary>Chosen by the client; goes into every reply.</summary>
    public ulong Cookie { get; } = cookie;

    /// <summary>Bytes from the start of the export. Not checked: any 64 bits.</summary>
    public ulong Offset { get; } = offset;

    /// <summary>Bytes, of the payload or of the range. Not checked: any 32 (extended: 64) bits.</summary>
    public ulong Length { get; } = length;

    /// <summary>The type as a name; check with <see cref="RequestRules.Validate"/> first.</summary>
    public NbdCommand Command => (NbdCommand)Type;

    public bool Has(CommandFlags flag) => ((CommandFlags)Flags & flag) != 0;

    /// <summary>Bytes of a header in a session with or without extended headers.</summary>
    public static int SizeOf(bool extended) => extended ? ExtendedSize : CompactSize;

    /// <summary>Writes the header as a client without extended headers does.</summary>
    /// <param name="target">at least <see cref="CompactSize"/> bytes</param>
    public void WriteCompact(Span<byte> target)
    {
        BinaryPrimitives.WriteUInt32BigEndian(target, NbdProtocol.RequestMagic);
        BinaryPrimitives.WriteUInt16BigEndian(target[4..], Flags);
        BinaryPrimitives.WriteUInt16BigEndian(target[6..], Type);
        BinaryPrimitives.WriteUInt64BigEndian(target[8..], Cookie);
        BinaryPrimitives.WriteUInt64BigEndian(target[16..], Offset);
        BinaryPrimitives.WriteUInt32BigEndian(target[24..], checked((uint)Length));
    }

    /// <summary>Reads a header.</summary>
    /// <param name="source">at least the header's size, or fewer bytes if no more have come</param>
    /// <param name="extended">the session has extended headers</param>
    /// <param name="header">the header; default if not parsed</param>
    /// <param name="badMagic">the stream is out of step: the connection must be closed</param>
    /// <returns>false if there are too few bytes (wait for more), or if <paramref name="badMagic"/></returns>
    public static bool TryParse(ReadOnlySpan<byte> source, bool extended, out RequestHeader header, out bool badMagic)
    {
        header = default;
        badMagic = source.Length >= 4
            && BinaryPrimitives.ReadUInt32BigEndian(source) != (extended ? NbdProtocol.ExtendedRequestMagic : NbdProtocol.RequestMagic);
        if (badMagic || source.Length < SizeOf(extended))
            return false;

        header = new RequestHeader(
            BinaryPrimitives.ReadUInt16BigEndian(source[4..]),
            BinaryPrimitives.ReadUInt16BigEndian(source[6..]),
            BinaryPrimitives.ReadUInt64BigEndian(source[8..]),
            BinaryPrimitives.ReadUInt64BigEndian(source[16..]),
            extended ? BinaryPrimitives.ReadUInt64BigEndian(source[24..]) : BinaryPrimitives.ReadUInt32BigEndian(source[24..]));
        return true;
    }
}
