using System;
using System.Buffers;
using System.Buffers.Binary;
using System.Text;
using Qcow2Blk.Format;
using Qcow2Blk.Protocol;

namespace Qcow2Blk.Remote.Nbd;

/// <summary>What the connection does next in the handshake.</summary>
internal enum ClientStep
{
    /// <summary>Send the output, receive more.</summary>
    NeedMore,

    /// <summary>Encrypt from now on. Whatever came in clear beyond this point must be refused.</summary>
    StartTls,

    /// <summary>The export is open; bytes that were not consumed are replies.</summary>
    Transmission,

    /// <summary>The server cannot be used; <see cref="ClientHandshake.Refusal"/> says why.</summary>
    Refused,
}

/// <summary>
/// The client's side of the fixed newstyle handshake, as a state machine over bytes: no I/O, no clock. Whatever the server sends,
/// it keeps two texts of at most 4 KiB and ends after <see cref="NbdProtocol.MaxOptions"/> replies.
/// </summary>
internal sealed class ClientHandshake
{
    /// <summary>Bytes of input that may be needed at once.</summary>
    public const int BufferBytes = NbdProtocol.OptionReplyHeaderSize + NbdProtocol.MaxOptionLength;

    /// <summary>"cliserv", in the place of IHAVEOPT: a server from before 2011.</summary>
    private const ulong OldstyleMagic = 0x00420281861253;

    private const int ExportNameReplySize = 10;

    private readonly string _name;
    private readonly byte[] _nameBytes;
    private readonly bool _isTls;
    private readonly bool _asksForHoles;
    private NbdOption _option;
    private int _replies;
    private bool _noZeroes;
    private ReplyMode _mode;
    private uint? _context;
    private (long Size, TransmissionFlags Flags)? _export;
    private uint _minBlock = 1;
    private uint _maxBlock = NbdProtocol.MaxRequestPayload;
    private string? _canonicalName;
    private string? _description;

    /// <param name="name">of the export</param>
    /// <param name="isTls">whether to go on only with TLS</param>
    /// <param name="asksForHoles">whether the server is to say what reads as zeroes, if it can</param>
    public ClientHandshake(string name, bool isTls, bool asksForHoles = false)
    {
        _name = name;
        _nameBytes = Encoding.UTF8.GetBytes(name);
        _isTls = isTls;
        _asksForHoles = asksForHoles;
    }

    private static ReadOnlySpan<byte> AllocationQuery => "base:allocation"u8;

    /// <summary>Whether the server has shown that it is one.</summary>
    public bool IsGreeted { get; private set; }

    /// <summary>Why the step is <see cref="ClientStep.Refused"/>.</summary>
    public FetchResult Refusal { get; private set; }

    /// <summary>What was opened; null before the step is <see cref="ClientStep.Transmission"/>.</summary>
    public RemoteExport? Export { get; private set; }

    /// <summary>Takes what has come from the server, as far as it is complete.</summary>
    public ClientStep Advance(ReadOnlySpan<byte> input, out int consumed, IBufferWriter<byte> output)
    {
        consumed = 0;
        while (true)
        {
            var step = Take(input[consumed..], out var taken, output);
            consumed += taken;
            if (step != ClientStep.NeedMore || taken == 0)
                return step;
        }
    }

    /// <summary>Goes on after the connection was encrypted.</summary>
    public void AfterTls(IBufferWriter<byte> output) => Ask(NbdOption.StructuredReply, [], output);

    private ClientStep Take(ReadOnlySpan<byte> input, out int taken, IBufferWriter<byte> output) =>
        !IsGreeted ? TakeGreeting(input, out taken, output)
        : _option == NbdOption.ExportName ? TakeExport(input, out taken)
        : TakeReply(input, out taken, output);

    private ClientStep TakeGreeting(ReadOnlySpan<byte> input, out int taken, IBufferWriter<byte> output)
    {
        taken = 0;
        if (input.Length >= sizeof(ulong) && BinaryPrimitives.ReadUInt64BigEndian(input) != NbdProtocol.ServerMagic)
            return Refuse(FetchStatus.Unfit, $"it is not an NBD server: it began with 0x{BinaryPrimitives.ReadUInt64BigEndian(input):x16}");
        if (input.Length >= 16 && BinaryPrimitives.ReadUInt64BigEndian(input[8..]) is var magic and not NbdProtocol.OptionMagic)
        {
            return Refuse(FetchStatus.Unfit, magic == OldstyleMagic
                ? "it speaks the oldstyle protocol, which cannot say what it serves" : $"its greeting has the magic number 0x{magic:x16}");
        }

        if (input.Length < NbdProtocol.GreetingSize)
            return ClientStep.NeedMore;
        taken = NbdProtocol.GreetingSize;
        IsGreeted = true;
        var flags = (HandshakeFlags)BinaryPrimitives.ReadUInt16BigEndian(input[16..]);
        if ((flags & HandshakeFlags.FixedNewstyle) == 0)
            return Refuse(FetchStatus.Unfit, "it does not speak the fixed newstyle protocol");
        _noZeroes = (flags & HandshakeFlags.NoZeroes) != 0;
        var answer = output.GetSpan(NbdProtocol.ClientFlagsSize);
        BinaryPrimitives.WriteUInt32BigEndian(answer,
            (uint)(_noZeroes ? ClientFlags.FixedNewstyle | ClientFlags.NoZeroes : ClientFlags.FixedNewstyle));
        output.Advance(NbdProtocol.ClientFlagsSize);
        Ask(_isTls ? NbdOption.StartTls : NbdOption.StructuredReply, [], output);
        return ClientStep.NeedMore;
    }

    private ClientStep TakeReply(ReadOnlySpan<byte> input, out int taken, IBufferWriter<byte> output)
    {
        taken = 0;
        if (input.Length >= sizeof(ulong) && BinaryPrimitives.ReadUInt64BigEndian(input) is var magic
            and not NbdProtocol.OptionReplyMagic)
        {
            return Refuse(FetchStatus.Unavailable, $"its reply to an option has the magic number 0x{magic:x16}");
        }

        if (input.Length < NbdProtocol.OptionReplyHeaderSize)
            return ClientStep.NeedMore;
        var option = (NbdOption)BinaryPrimitives.ReadUInt32BigEndian(input[8..]);
        var reply = (NbdReply)BinaryPrimitives.ReadUInt32BigEndian(input[12..]);
        var length = BinaryPrimitives.ReadUInt32BigEndian(input[16..]);
        if (option != _option)
            return Refuse(FetchStatus.Unavailable, $"it replies to option {(uint)option}, and was asked for {(uint)_option}");
        if (length > NbdProtocol.MaxOptionLength)
            return Refuse(FetchStatus.Unavailable, $"its reply to option {(uint)option} has {length} bytes");
        if (input.Length - NbdProtocol.OptionReplyHeaderSize < length)
            return ClientStep.NeedMore;
        taken = NbdProtocol.OptionReplyHeaderSize + (int)length;
        if (++_replies > NbdProtocol.MaxOptions)
            return Refuse(FetchStatus.Unavailable, $"it sent more than {NbdProtocol.MaxOptions} replies to options");
        var data = input[NbdProtocol.OptionReplyHeaderSize..taken];
        return ((uint)reply & 0x80000000) != 0 ? TakeError(reply, data, output)
            : reply == NbdReply.Ack ? TakeAck(output)
            : reply == NbdReply.Info && _option == NbdOption.Go ? TakeInfo(data)
            : reply == NbdReply.MetaContext && _option == NbdOption.SetMetaContext ? TakeContext(data)
            : Refuse(FetchStatus.Unavailable, $"it replies to option {(uint)option} with {(uint)reply}");
    }

    private ClientStep TakeAck(IBufferWriter<byte> output)
    {
        switch (_option)
        {
            case NbdOption.StartTls:
                return ClientStep.StartTls;
            case NbdOption.StructuredReply:
                _mode = ReplyMode.Structured;
                if (_asksForHoles)
                    AskForContext(output);
                else
                    AskForExport(output);
                return ClientStep.NeedMore;
            case NbdOption.SetMetaContext:
                AskForExport(output);
                return ClientStep.NeedMore;
            default:
                return _export is { } export ? Open(export.Size, export.Flags)
                    : Refuse(FetchStatus.Unavailable, "it opened the export without telling its size");
        }
    }

    private ClientStep TakeError(NbdReply error, ReadOnlySpan<byte> text, IBufferWriter<byte> output)
    {
        // What is wrong with the export, too, it says again when that is asked for.
        if (_option == NbdOption.SetMetaContext || (error == NbdReply.ErrorUnsupported && _option == NbdOption.StructuredReply))
        {
            _context = null;
            AskForExport(output);
            return ClientStep.NeedMore;
        }

        if (error == NbdReply.ErrorUnsupported && _option == NbdOption.Go)
        {
            Ask(NbdOption.ExportName, _nameBytes, output);
            return ClientStep.NeedMore;
        }

        var said = text.IsEmpty ? "" : $": {NbdText.Printable(Encoding.UTF8.GetString(text))}";
        return error switch
        {
            // nbdkit takes that for a matter of policy.
            NbdReply.ErrorUnsupported or NbdReply.ErrorPolicy or NbdReply.ErrorInvalid when _option == NbdOption.StartTls =>
                Refuse(FetchStatus.Unfit, $"it does not support TLS{said}"),
            NbdReply.ErrorUnknown => Refuse(FetchStatus.Missing, $"it has no export \"{NbdText.Printable(_name)}\"{said}"),
            NbdReply.ErrorPolicy => Refuse(FetchStatus.Denied, $"it refuses this client{said}"),
            NbdReply.ErrorTlsRequired => Refuse(FetchStatus.Unfit, $"it requires TLS, which nbds:// uses{said}"),
            _ => Refuse(FetchStatus.Unavailable, $"it answers option {(uint)_option} with the error 0x{(uint)error:x}{said}"),
        };
    }

    private ClientStep TakeInfo(ReadOnlySpan<byte> data)
    {
        if (data.Length < sizeof(ushort))
            return Refuse(FetchStatus.Unavailable, "it sent information without a type");
        var type = (NbdInfo)BinaryPrimitives.ReadUInt16BigEndian(data);
        var rest = data[sizeof(ushort)..];
        switch (type)
        {
            case NbdInfo.Export when rest.Length == 10:
                var size = BinaryPrimitives.ReadUInt64BigEndian(rest);
                if (size > (ulong)Limits.MaxFileBytes)
                    return Refuse(FetchStatus.Unfit, $"its export has {size} bytes");
                _export = ((long)size, (TransmissionFlags)BinaryPrimitives.ReadUInt16BigEndian(rest[8..]));
                return ClientStep.NeedMore;
            case NbdInfo.BlockSize when rest.Length == 12:
                _minBlock = BinaryPrimitives.ReadUInt32BigEndian(rest);
                _maxBlock = Math.Min(BinaryPrimitives.ReadUInt32BigEndian(rest[8..]), NbdProtocol.MaxRequestPayload);
                return _minBlock is > 0 and <= NbdProtocol.LargestMinimumBlockSize && (_minBlock & (_minBlock - 1)) == 0
                    && _maxBlock >= _minBlock ? ClientStep.NeedMore
                    : Refuse(FetchStatus.Unfit, $"its export has blocks of {_minBlock} to {_maxBlock} bytes");
            case NbdInfo.Name when rest.Length <= NbdProtocol.MaxNameLength:
                _canonicalName = Encoding.UTF8.GetString(rest);
                return ClientStep.NeedMore;
            case NbdInfo.Description when rest.Length <= NbdProtocol.MaxNameLength:
                _description = Encoding.UTF8.GetString(rest);
                return ClientStep.NeedMore;
            case NbdInfo.Export or NbdInfo.BlockSize or NbdInfo.Name or NbdInfo.Description:
                return Refuse(FetchStatus.Unavailable, $"its information {(ushort)type} has {rest.Length} bytes");
            default:
                return ClientStep.NeedMore;
        }
    }

    private ClientStep TakeContext(ReadOnlySpan<byte> data)
    {
        if (data.Length < sizeof(uint) || !data[sizeof(uint)..].SequenceEqual(AllocationQuery))
            return Refuse(FetchStatus.Unavailable, "it agrees to a metadata context that it was not asked for");
        if (_context is not null)
            return Refuse(FetchStatus.Unavailable, "it agrees to the same metadata context twice");
        _context = BinaryPrimitives.ReadUInt32BigEndian(data);
        return ClientStep.NeedMore;
    }

    /// <summary>The answer of a server that does not know NBD_OPT_GO. One that lacks the export hangs up.</summary>
    private ClientStep TakeExport(ReadOnlySpan<byte> input, out int taken)
    {
        taken = 0;
        var length = ExportNameReplySize + (_noZeroes ? 0 : NbdProtocol.ExportNamePadding);
        if (input.Length < length)
            return ClientStep.NeedMore;
        taken = length;
        var size = BinaryPrimitives.ReadUInt64BigEndian(input);
        return size <= (ulong)Limits.MaxFileBytes
            ? Open((long)size, (TransmissionFlags)BinaryPrimitives.ReadUInt16BigEndian(input[8..]))
            : Refuse(FetchStatus.Unfit, $"its export has {size} bytes");
    }

    private ClientStep Open(long size, TransmissionFlags flags)
    {
        if (size == 0)
            return Refuse(FetchStatus.Unfit, "its export is empty");
        if (size % _minBlock != 0)
            return Refuse(FetchStatus.Unfit, $"its export has {size} bytes, which are not blocks of {_minBlock}");
        Export = new RemoteExport
        {
            Size = size,
            Flags = flags,
            Mode = _mode,
            MinBlock = _minBlock,
            MaxBlock = _maxBlock / _minBlock * _minBlock,
            AllocationContext = _context,
            CanonicalName = _canonicalName,
            Description = _description,
        };
        return ClientStep.Transmission;
    }

    /// <summary>NBD_OPT_SET_META_CONTEXT: the name, and one query.</summary>
    private void AskForContext(IBufferWriter<byte> output)
    {
        var query = AllocationQuery;
        var data = new byte[sizeof(uint) + _nameBytes.Length + (2 * sizeof(uint)) + query.Length];
        BinaryPrimitives.WriteUInt32BigEndian(data, (uint)_nameBytes.Length);
        _nameBytes.CopyTo(data, sizeof(uint));
        var rest = data.AsSpan(sizeof(uint) + _nameBytes.Length);
        BinaryPrimitives.WriteUInt32BigEndian(rest, 1);
        BinaryPrimitives.WriteUInt32BigEndian(rest[4..], (uint)query.Length);
        query.CopyTo(rest[8..]);
        Ask(NbdOption.SetMetaContext, data, output);
    }

    /// <summary>NBD_OPT_GO: the name, and which information is wanted.</summary>
    private void AskForExport(IBufferWriter<byte> output)
    {
        var data = new byte[sizeof(uint) + _nameBytes.Length + (4 * sizeof(ushort))];
        BinaryPrimitives.WriteUInt32BigEndian(data, (uint)_nameBytes.Length);
        _nameBytes.CopyTo(data, sizeof(uint));
        var rest = data.AsSpan(sizeof(uint) + _nameBytes.Length);
        BinaryPrimitives.WriteUInt16BigEndian(rest, 3);
        BinaryPrimitives.WriteUInt16BigEndian(rest[2..], (ushort)NbdInfo.Name);
        BinaryPrimitives.WriteUInt16BigEndian(rest[4..], (ushort)NbdInfo.Description);
        BinaryPrimitives.WriteUInt16BigEndian(rest[6..], (ushort)NbdInfo.BlockSize);
        Ask(NbdOption.Go, data, output);
    }

    private void Ask(NbdOption option, ReadOnlySpan<byte> data, IBufferWriter<byte> output)
    {
        _option = option;
        var target = output.GetSpan(NbdProtocol.OptionHeaderSize + data.Length);
        BinaryPrimitives.WriteUInt64BigEndian(target, NbdProtocol.OptionMagic);
        BinaryPrimitives.WriteUInt32BigEndian(target[8..], (uint)option);
        BinaryPrimitives.WriteUInt32BigEndian(target[12..], (uint)data.Length);
        data.CopyTo(target[NbdProtocol.OptionHeaderSize..]);
        output.Advance(NbdProtocol.OptionHeaderSize + data.Length);
    }

    private ClientStep Refuse(FetchStatus status, string why)
    {
        Refusal = new FetchResult(status, why);
        return ClientStep.Refused;
    }
}
