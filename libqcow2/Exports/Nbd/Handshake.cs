using System;
using System.Buffers;
using System.Buffers.Binary;
using Qcow2Blk.Protocol;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>What the connection does next during the handshake.</summary>
internal enum HandshakeStatus
{
    /// <summary>Send the output, receive more, present what was not consumed together with it.</summary>
    NeedMore,

    /// <summary>Send the output; the session is <see cref="Handshake.Session"/>; bytes not consumed are requests.</summary>
    Transmission,

    /// <summary>Send the output, then close; <see cref="Handshake.CloseReason"/> says why.</summary>
    Close,
}

/// <summary>
/// The server's side of the fixed newstyle handshake, as a state machine over bytes: no I/O, no clock. One per
/// connection, used by one thread at a time. Whatever the client sends, it keeps at most a few hundred bytes of its own,
/// asks for at most <see cref="NbdProtocol.HandshakeBufferSize"/> bytes of input at once, and ends after
/// <see cref="NbdProtocol.MaxOptions"/> options. Limits in time are the connection's business.
/// </summary>
internal sealed class Handshake
{
    private readonly OptionNegotiation _negotiation;
    private bool _haveClientFlags;
    private uint _skip;
    private int _options;
    private bool _ended;

    public Handshake(IExportCatalog catalog)
    {
        ArgumentNullException.ThrowIfNull(catalog);
        _negotiation = new OptionNegotiation(catalog);
    }

    /// <summary>What was agreed.</summary>
    /// <exception cref="InvalidOperationException">the status was not <see cref="HandshakeStatus.Transmission"/></exception>
    public NegotiatedSession Session =>
        _negotiation.Session ?? throw new InvalidOperationException("the handshake has not reached transmission");

    /// <summary>Why the status is <see cref="HandshakeStatus.Close"/>; null if the client ended it (NBD_OPT_ABORT).</summary>
    public string? CloseReason { get; private set; }

    /// <summary>Writes what the server says first.</summary>
    public static void Greeting(IBufferWriter<byte> output)
    {
        var greeting = output.GetSpan(NbdProtocol.GreetingSize);
        BinaryPrimitives.WriteUInt64BigEndian(greeting, NbdProtocol.ServerMagic);
        BinaryPrimitives.WriteUInt64BigEndian(greeting[8..], NbdProtocol.OptionMagic);
        BinaryPrimitives.WriteUInt16BigEndian(greeting[16..], (ushort)(HandshakeFlags.FixedNewstyle | HandshakeFlags.NoZeroes));
        output.Advance(NbdProtocol.GreetingSize);
    }

    /// <summary>Takes what has come from the client, as far as it is complete.</summary>
    /// <param name="input">all bytes that came and were not yet consumed</param>
    /// <param name="consumed">how many of them are done with; never past the option that starts transmission</param>
    /// <param name="output">gets the replies; they must be sent whatever the status</param>
    /// <exception cref="InvalidOperationException">called again after the handshake ended</exception>
    public HandshakeStatus Advance(ReadOnlySpan<byte> input, out int consumed, IBufferWriter<byte> output)
    {
        if (_ended)
            throw new InvalidOperationException("the handshake has ended");

        consumed = 0;
        while (true)
        {
            var status = Step(input[consumed..], out var taken, output);
            consumed += taken;
            if (status != HandshakeStatus.NeedMore)
                _ended = true;
            if (taken == 0 || _ended)
                return status;
        }
    }

    /// <summary>Consumes one complete item, or nothing.</summary>
    private HandshakeStatus Step(ReadOnlySpan<byte> input, out int taken, IBufferWriter<byte> output)
    {
        if (_skip > 0)
        {
            taken = (int)Math.Min((uint)input.Length, _skip);
            _skip -= (uint)taken;
            return HandshakeStatus.NeedMore;
        }

        return _haveClientFlags ? TakeOption(input, out taken, output) : TakeClientFlags(input, out taken);
    }

    private HandshakeStatus TakeClientFlags(ReadOnlySpan<byte> input, out int taken)
    {
        taken = 0;
        if (!BinaryPrimitives.TryReadUInt32BigEndian(input, out var raw))
            return HandshakeStatus.NeedMore;

        taken = NbdProtocol.ClientFlagsSize;
        var flags = (ClientFlags)raw;
        if ((flags & ~(ClientFlags.FixedNewstyle | ClientFlags.NoZeroes)) != 0)
            return Close($"unknown client flags 0x{raw:x}");
        _negotiation.ClientFlags = flags;
        _haveClientFlags = true;
        return HandshakeStatus.NeedMore;
    }

    private HandshakeStatus TakeOption(ReadOnlySpan<byte> input, out int taken, IBufferWriter<byte> output)
    {
        taken = 0;
        if (input.Length >= sizeof(ulong) && BinaryPrimitives.ReadUInt64BigEndian(input) != NbdProtocol.OptionMagic)
            return Close($"bad option magic 0x{BinaryPrimitives.ReadUInt64BigEndian(input):x16}");
        if (input.Length < NbdProtocol.OptionHeaderSize)
            return HandshakeStatus.NeedMore;

        var option = (NbdOption)BinaryPrimitives.ReadUInt32BigEndian(input[8..]);
        var length = BinaryPrimitives.ReadUInt32BigEndian(input[12..]);
        if (length > NbdProtocol.MaxOptionLength)
            return RefuseLongOption(option, length, out taken, output);
        var size = NbdProtocol.OptionHeaderSize + (int)length;
        if (input.Length < size)
            return HandshakeStatus.NeedMore;

        taken = size;
        if (++_options > NbdProtocol.MaxOptions)
            return Close($"more than {NbdProtocol.MaxOptions} options");
        var status = _negotiation.Take(option, input[NbdProtocol.OptionHeaderSize..size], output);
        CloseReason = _negotiation.CloseReason;
        return status;
    }

    private HandshakeStatus RefuseLongOption(NbdOption option, uint length, out int taken, IBufferWriter<byte> output)
    {
        taken = NbdProtocol.OptionHeaderSize;
        if (++_options > NbdProtocol.MaxOptions)
            return Close($"more than {NbdProtocol.MaxOptions} options");
        if (!_negotiation.RefuseLong(option, length, output))
            return Close($"option {(uint)option} has {length} bytes of data");
        if (length > NbdProtocol.MaxSkippedOptionLength)
            return Close($"option {(uint)option} has {length} bytes of data");
        _skip = length;
        return HandshakeStatus.NeedMore;
    }

    private HandshakeStatus Close(string reason)
    {
        CloseReason = reason;
        return HandshakeStatus.Close;
    }
}
