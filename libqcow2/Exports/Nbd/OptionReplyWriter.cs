using System;
using System.Buffers;
using System.Buffers.Binary;
using System.Text;
using Qcow2Blk.Protocol;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>Writes the replies to one option ("Option reply types").</summary>
internal readonly ref struct OptionReplyWriter(IBufferWriter<byte> output, NbdOption option)
{
    /// <summary>
    /// The longest error text. Names of the client that stand in it are cut with it; clients show texts on one line.
    /// </summary>
    private const int MaxErrorText = 512;

    public void Ack()
    {
        Begin(NbdReply.Ack, 0);
        End(0);
    }

    /// <summary>An error; the text is for people: lower case, no full stop.</summary>
    public void Error(NbdReply error, string text)
    {
        var message = NbdText.Truncate(Encoding.UTF8.GetBytes(text), MaxErrorText);
        message.CopyTo(Begin(error, message.Length));
        End(message.Length);
    }

    /// <summary>NBD_REP_SERVER: one entry of the list of exports.</summary>
    public void Server(ExportInfo export)
    {
        var nameLength = Encoding.UTF8.GetByteCount(export.Name);
        var length = 4 + nameLength + Encoding.UTF8.GetByteCount(export.Description);
        var data = Begin(NbdReply.Server, length);
        BinaryPrimitives.WriteInt32BigEndian(data, nameLength);
        Encoding.UTF8.GetBytes(export.Name, data[4..]);
        Encoding.UTF8.GetBytes(export.Description, data[(4 + nameLength)..]);
        End(length);
    }

    public void InfoExport(ExportInfo export, bool structuredReplies)
    {
        var data = BeginInfo(NbdInfo.Export, 10);
        BinaryPrimitives.WriteInt64BigEndian(data, export.Size);
        BinaryPrimitives.WriteUInt16BigEndian(data[8..], (ushort)export.FlagsFor(structuredReplies));
        End(2 + 10);
    }

    public void InfoBlockSize(ExportInfo export)
    {
        var data = BeginInfo(NbdInfo.BlockSize, 12);
        BinaryPrimitives.WriteUInt32BigEndian(data, export.MinimumBlockSize);
        BinaryPrimitives.WriteUInt32BigEndian(data[4..], Math.Max(export.PreferredBlockSize, export.MinimumBlockSize));
        BinaryPrimitives.WriteUInt32BigEndian(data[8..], export.MaximumBlockSize);
        End(2 + 12);
    }

    /// <summary>NBD_INFO_NAME or NBD_INFO_DESCRIPTION.</summary>
    public void InfoText(NbdInfo info, string text)
    {
        var length = Encoding.UTF8.GetByteCount(text);
        Encoding.UTF8.GetBytes(text, BeginInfo(info, length));
        End(2 + length);
    }

    public void MetaContext(uint id, string text)
    {
        var name = Encoding.UTF8.GetBytes(text);
        var data = Begin(NbdReply.MetaContext, 4 + name.Length);
        BinaryPrimitives.WriteUInt32BigEndian(data, id);
        name.CopyTo(data[4..]);
        End(4 + name.Length);
    }

    private Span<byte> BeginInfo(NbdInfo info, int length)
    {
        var data = Begin(NbdReply.Info, 2 + length);
        BinaryPrimitives.WriteUInt16BigEndian(data, (ushort)info);
        return data[2..];
    }

    /// <summary>Writes a header and returns the memory of the data, to be filled before <see cref="End"/>.</summary>
    private Span<byte> Begin(NbdReply type, int length)
    {
        var reply = output.GetSpan(NbdProtocol.OptionReplyHeaderSize + length);
        BinaryPrimitives.WriteUInt64BigEndian(reply, NbdProtocol.OptionReplyMagic);
        BinaryPrimitives.WriteUInt32BigEndian(reply[8..], (uint)option);
        BinaryPrimitives.WriteUInt32BigEndian(reply[12..], (uint)type);
        BinaryPrimitives.WriteInt32BigEndian(reply[16..], length);
        return reply.Slice(NbdProtocol.OptionReplyHeaderSize, length);
    }

    private void End(int length) => output.Advance(NbdProtocol.OptionReplyHeaderSize + length);
}
