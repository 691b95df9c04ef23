using System;
using System.Buffers;
using System.Buffers.Binary;
using System.Numerics;
using Qcow2Blk.Protocol;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>Answers the options of one client ("Option types") and keeps what they agreed on.</summary>
internal sealed class OptionNegotiation(IExportCatalog catalog)
{
    private ReplyMode _replyMode;
    private int _contexts;
    private string? _contextsExport;

    public ClientFlags ClientFlags { get; set; }

    public NegotiatedSession? Session { get; private set; }

    public string? CloseReason { get; private set; }

    private bool StructuredReplies => _replyMode != ReplyMode.Simple;

    /// <summary>Answers one option whose data is complete.</summary>
    public HandshakeStatus Take(NbdOption option, ReadOnlySpan<byte> data, IBufferWriter<byte> output)
    {
        if (option == NbdOption.ExportName)
            return TakeExportName(data, output);
        if ((ClientFlags & ClientFlags.FixedNewstyle) == 0)
            return Close($"option {(uint)option} from a client that did not ask for fixed newstyle");

        var reply = new OptionReplyWriter(output, option);
        switch (option)
        {
            case NbdOption.Abort:
                reply.Ack();
                return HandshakeStatus.Close;
            case NbdOption.Info or NbdOption.Go:
                return TakeInfoOrGo(option, data, reply);
            case NbdOption.ListMetaContext or NbdOption.SetMetaContext:
                TakeMetaContext(option, data, reply);
                return HandshakeStatus.NeedMore;
            case NbdOption.List or NbdOption.StartTls or NbdOption.StructuredReply or NbdOption.ExtendedHeaders:
                if (data.IsEmpty)
                    TakeWithoutData(option, reply);
                else
                    reply.Error(NbdReply.ErrorInvalid, $"option {(uint)option} takes no data, {data.Length} bytes were sent");
                return HandshakeStatus.NeedMore;
            default:
                reply.Error(NbdReply.ErrorUnsupported, $"option {(uint)option} is not known to this server");
                return HandshakeStatus.NeedMore;
        }
    }

    /// <summary>Answers an option whose data is too long to look at.</summary>
    /// <returns>false if there is no way to answer: the connection must be closed</returns>
    public bool RefuseLong(NbdOption option, uint length, IBufferWriter<byte> output)
    {
        if (option == NbdOption.ExportName || (ClientFlags & ClientFlags.FixedNewstyle) == 0)
            return false;
        if (option == NbdOption.SetMetaContext)
            DropContexts();
        new OptionReplyWriter(output, option).Error(
            NbdReply.ErrorTooBig, $"{length} bytes of option data are more than the {NbdProtocol.MaxOptionLength} accepted");
        return true;
    }

    private void TakeWithoutData(NbdOption option, OptionReplyWriter reply)
    {
        switch (option)
        {
            case NbdOption.List:
                foreach (var export in catalog.List())
                    reply.Server(export);
                reply.Ack();
                break;
            case NbdOption.StartTls:
                reply.Error(NbdReply.ErrorUnsupported, "tls is not supported by this server");
                break;
            case NbdOption.StructuredReply when _replyMode == ReplyMode.Extended:
                reply.Error(NbdReply.ErrorExtendedHeadersRequired, "extended headers are already negotiated");
                break;
            case NbdOption.StructuredReply:
                _replyMode = ReplyMode.Structured;
                reply.Ack();
                break;
            default: // extended headers
                _replyMode = ReplyMode.Extended;
                reply.Ack();
                break;
        }
    }

    /// <summary>NBD_OPT_EXPORT_NAME: there is no way to tell the client about an error but to hang up.</summary>
    private HandshakeStatus TakeExportName(ReadOnlySpan<byte> data, IBufferWriter<byte> output)
    {
        if (!OptionReader.IsValidText(data))
            return Close("export name is not valid UTF-8 text of up to 4096 bytes");
        var name = OptionReader.ToText(data);
        if (!catalog.TryFind(name, out var export))
            return Close(NotFound(name));

        var size = 10 + ((ClientFlags & ClientFlags.NoZeroes) != 0 ? 0 : NbdProtocol.ExportNamePadding);
        var answer = output.GetSpan(size)[..size];
        answer.Clear();
        BinaryPrimitives.WriteInt64BigEndian(answer, export.Size);
        BinaryPrimitives.WriteUInt16BigEndian(answer[8..], (ushort)export.FlagsFor(StructuredReplies));
        output.Advance(size);
        return Begin(export, blockSizesRequested: false);
    }

    private HandshakeStatus TakeInfoOrGo(NbdOption option, ReadOnlySpan<byte> data, OptionReplyWriter reply)
    {
        if (!TryReadInfo(data, out var nameBytes, out var wantsName, out var wantsBlockSize))
        {
            reply.Error(NbdReply.ErrorInvalid, $"malformed request for information, {data.Length} bytes");
            return HandshakeStatus.NeedMore;
        }

        if (!TryFind(nameBytes, reply, out var export))
            return HandshakeStatus.NeedMore;

        if (wantsName)
            reply.InfoText(NbdInfo.Name, export.Name);
        if (export.Description.Length > 0)
            reply.InfoText(NbdInfo.Description, export.Description);
        reply.InfoBlockSize(export);
        reply.InfoExport(export, StructuredReplies);
        reply.Ack();
        return option == NbdOption.Go ? Begin(export, wantsBlockSize) : HandshakeStatus.NeedMore;
    }

    private static bool TryReadInfo(ReadOnlySpan<byte> data, out ReadOnlySpan<byte> name, out bool wantsName, out bool wantsBlockSize)
    {
        (wantsName, wantsBlockSize) = (false, false);
        var reader = new OptionReader(data);
        if (!reader.TryReadString(out name) || !reader.TryReadUInt16(out var count) || reader.Remaining != count * 2)
            return false;
        while (reader.TryReadUInt16(out var info))
        {
            wantsName |= (NbdInfo)info == NbdInfo.Name;
            wantsBlockSize |= (NbdInfo)info == NbdInfo.BlockSize;
        }

        return true;
    }

    private void TakeMetaContext(NbdOption option, ReadOnlySpan<byte> data, OptionReplyWriter reply)
    {
        // A SET replaces what was set before even if it fails.
        if (option == NbdOption.SetMetaContext)
            DropContexts();
        if (!StructuredReplies)
        {
            reply.Error(NbdReply.ErrorInvalid, "metadata contexts need structured replies or extended headers first");
            return;
        }

        if (!AreQueries(data, out var nameBytes))
        {
            reply.Error(NbdReply.ErrorInvalid, $"malformed metadata context queries, {data.Length} bytes");
            return;
        }

        if (!TryFind(nameBytes, reply, out var export))
            return;

        var matches = Match(data, export, listing: option == NbdOption.ListMetaContext);
        for (var number = 0; number < MetaContextQuery.CountOf(export); number++)
        {
            if ((matches & (1 << number)) != 0) // when listing, the number is reserved and 0
                reply.MetaContext(option == NbdOption.SetMetaContext ? (uint)number : 0, MetaContextQuery.NameOf(number, export));
        }

        reply.Ack();
        if (option == NbdOption.SetMetaContext)
            (_contexts, _contextsExport) = (matches, export.Name);
    }

    private static bool AreQueries(ReadOnlySpan<byte> data, out ReadOnlySpan<byte> name)
    {
        var reader = new OptionReader(data);
        if (!reader.TryReadString(out name) || !reader.TryReadUInt32(out var count))
            return false;
        for (; count > 0; count--)
        {
            if (!reader.TryReadString(out var query) || !OptionReader.IsValidText(query) || !query.Contains((byte)':'))
                return false;
        }

        return reader.AtEnd;
    }

    /// <param name="data">well-formed</param>
    /// <param name="export">that it names</param>
    /// <param name="listing">no query at all then asks for all contexts</param>
    private static int Match(ReadOnlySpan<byte> data, ExportInfo export, bool listing)
    {
        var reader = new OptionReader(data);
        reader.TryReadString(out _);
        reader.TryReadUInt32(out var count);
        var matches = count == 0 && listing ? MetaContextQuery.AllOf(export) : 0;
        while (reader.TryReadString(out var query))
            matches |= MetaContextQuery.Match(query, export, wildcards: listing);
        return matches;
    }

    private bool TryFind(ReadOnlySpan<byte> nameBytes, OptionReplyWriter reply, out ExportInfo export)
    {
        export = null!;
        if (!OptionReader.IsValidText(nameBytes))
        {
            reply.Error(NbdReply.ErrorInvalid, "export name is not valid UTF-8 text of up to 4096 bytes");
            return false;
        }

        var name = OptionReader.ToText(nameBytes);
        if (catalog.TryFind(name, out var found))
        {
            export = found;
            return true;
        }

        reply.Error(NbdReply.ErrorUnknown, NotFound(name));
        return false;
    }

    private HandshakeStatus Begin(ExportInfo export, bool blockSizesRequested)
    {
        if (_contextsExport != export.Name)
            DropContexts();
        var contexts = new NegotiatedContext[BitOperations.PopCount((uint)_contexts)];
        var count = 0;
        for (var number = 0; number < MetaContextQuery.CountOf(export); number++)
        {
            if ((_contexts & (1 << number)) != 0)
                contexts[count++] = MetaContextQuery.ContextOf(number, export);
        }

        Session = new NegotiatedSession(export, _replyMode, contexts, blockSizesRequested);
        return HandshakeStatus.Transmission;
    }

    private void DropContexts() => (_contexts, _contextsExport) = (0, null);

    private HandshakeStatus Close(string reason)
    {
        CloseReason = reason;
        return HandshakeStatus.Close;
    }

    private static string NotFound(string name) =>
        name.Length == 0 ? "there is no default export" : $"export \"{NbdText.Printable(name)}\" is not available";
}
