using System;
using System.Buffers;
using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using Qcow2Blk.Buffers;
using Qcow2Blk.Interop;
using Qcow2Blk.Protocol;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Remote.Nbd;

/// <summary>
/// One connection to an NBD server, from its first packet to its end. A server that breaks the protocol, stalls or goes away ends
/// it: then all reads end with the reason, once nothing is on its way into their memory.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "its end waits for the ring: FinishIfIdle disposes of the parts")]
internal sealed partial class NbdClientConnection : IRingSocketUser
{
    // All of the longest reply to an option, and many headers.
    private const int InboxBytes = 64 << 10, OutboxBytes = 32 << 10, RequestBytes = 28;

    private readonly EventLoop _loop;
    private readonly NbdTimes _times;
    private readonly RingSocket _socket;
    private readonly ClientHandshake _handshake;
    private readonly NativeBuffer _inbox;
    private readonly NativeBuffer _outbox;
    private readonly Action _flush;
    private readonly Action<NbdClientConnection> _ended;
    private ManualSource<FetchResult>? _opening;
    private NbdReplies? _replies;
    private FetchResult? _failure;
    private int _inStart;
    private int _inEnd;
    private int _outStart;
    private int _outEnd;
    private bool _flushIsPosted;
    private bool _isEnded;

    /// <param name="loop">the loop that is running</param>
    /// <param name="fd">a socket that is connected or on its way to be</param>
    /// <param name="handshake">what to agree on</param>
    /// <param name="times">how long the server may take</param>
    /// <param name="ended">told when the connection has ended and holds nothing any more</param>
    public NbdClientConnection(EventLoop loop, int fd, ClientHandshake handshake, NbdTimes times, Action<NbdClientConnection> ended)
    {
        (_loop, _handshake, _times, _ended) = (loop, handshake, times, ended);
        _inbox = loop.Buffers.Rent(InboxBytes);
        _outbox = loop.Buffers.Rent(OutboxBytes);
        _flush = () =>
        {
            _flushIsPosted = false;
            Flush();
        };
        _socket = new RingSocket(loop, fd, this);
    }

    /// <summary>Whether it can be asked for something.</summary>
    public bool IsOpen => _replies is not null && _failure is null;

    public bool IsFull => _replies!.IsFull;

    public int UnderWay => _replies?.UnderWay ?? 0;

    /// <summary>What was opened; null before.</summary>
    public RemoteExport? Export => _handshake.Export;

    /// <summary>Whether what listens there is an NBD server.</summary>
    public bool IsGreeted => _handshake.IsGreeted;

    /// <summary>Told when there is room for a read again.</summary>
    public Action Freed { get; init; } = () => { };

    /// <summary>Opens the export.</summary>
    /// <param name="greetingTime">milliseconds from now until the server must have said something</param>
    public LoopTask<FetchResult> OpenAsync(int greetingTime)
    {
        _opening = ManualSource<FetchResult>.Rent();
        var task = _opening.Task;
        ArmReceive();
        WatchOpeningAsync(greetingTime).Forget();
        return task;
    }

    /// <summary>Reads a range that lies in the export, of whole blocks.</summary>
    public LoopTask<FetchResult> ReadAsync(long offset, NativeBuffer buffer)
    {
        if (_failure is { } failure)
            return new LoopTask<FetchResult>(failure);
        var task = _replies!.Begin(offset, buffer, Outgoing(RequestBytes));
        _outEnd += RequestBytes;
        Watch();
        PostFlush();
        return task;
    }

    /// <summary>Asks which parts of a range are zeroes. Only where the server said that it can tell.</summary>
    public LoopTask<FetchResult> AskAsync(StatusQuestion question)
    {
        if (_failure is { } failure)
            return new LoopTask<FetchResult>(failure);
        var task = _replies!.Begin(question, Outgoing(RequestBytes));
        _outEnd += RequestBytes;
        Watch();
        PostFlush();
        return task;
    }

    /// <summary>Ends the connection. Who waits hears of it when nothing is on its way any more.</summary>
    public void Fail(in FetchResult why)
    {
        if (_failure is not null)
            return;
        _failure = why;
        _socket.Shut();
        FinishIfIdle();
    }

    /// <summary>Says good-bye, if that needs no waiting, and ends the connection.</summary>
    public void Close(in FetchResult why)
    {
        if (IsOpen && !_socket.IsSending && OutboxBytes - _outEnd >= RequestBytes)
        {
            var request = Outgoing(RequestBytes);
            request.Clear();
            BinaryPrimitives.WriteUInt32BigEndian(request, NbdProtocol.RequestMagic);
            BinaryPrimitives.WriteUInt16BigEndian(request[6..], (ushort)NbdCommand.Disconnect);
            _outEnd += RequestBytes;
            Flush();
        }

        Fail(why);
    }

    public void Received(int result)
    {
        if (_failure is not null)
        {
            FinishIfIdle();
            return;
        }

        if (result is -Errno.EINTR or -Errno.EAGAIN)
        {
            ArmReceive();
            return;
        }

        if (result <= 0)
        {
            Fail(Lost(result == 0 ? "the server closed the connection" : Errno.Text(result)));
            return;
        }

        CountBytes(result);
        if (_tls is null)
            ReceivedPlain(result);
        else
            ReceivedCipher(result);
        ArmReceive();
    }

    public void Sent(int result)
    {
        if (_failure is not null)
        {
            FinishIfIdle();
            return;
        }

        if (result > 0)
            Advance(result);
        else if (result is not (-Errno.EINTR or -Errno.EAGAIN))
            Fail(Lost(Errno.Text(result)));
        Flush();
    }

    private static FetchResult Lost(string why) => new(FetchStatus.Unavailable, why);

    private static FetchResult Broken(string why) => new(FetchStatus.Unavailable, $"the server breaks the protocol: {why}");

    private void ArmReceive()
    {
        if (_failure is not null || _socket.IsReceiving)
            return;
        MakeRoom();
        if (_tls is null)
            _socket.Receive(_replies?.Payload ?? default, _inbox.Slice(_inEnd));
        else
            _socket.Receive(default, _cipherIn);
    }

    /// <summary>The first bytes belong to the data that is waited for.</summary>
    private void ReceivedPlain(int bytes)
    {
        var payload = _replies?.Payload ?? default;
        var direct = Math.Min(bytes, payload.Length);
        _inEnd += bytes - direct;
        if (direct > 0 && _replies!.Filled(direct) is { } wrong)
            Fail(Broken(wrong));
        Process();
    }

    /// <summary>What is left of the last receive, which is less than one header or reply, goes to the front.</summary>
    private void MakeRoom()
    {
        if (_inStart == 0)
            return;
        _inbox.Span[_inStart.._inEnd].CopyTo(_inbox.Span);
        (_inStart, _inEnd) = (0, _inEnd - _inStart);
    }

    private void Process()
    {
        while (_failure is null)
        {
            var before = _inStart;
            if (_replies is null)
                Negotiate();
            else if (!_replies.Payload.IsEmpty)
                TakePayload(_replies);
            else if (_replies.Take(_inbox.Span[_inStart.._inEnd], out var taken) is { } wrong)
                Fail(Broken(wrong));
            else
                _inStart += taken;
            if (_inStart == before)
                return;
        }
    }

    /// <summary>The beginning of the data came together with its header.</summary>
    private void TakePayload(NbdReplies replies)
    {
        var bytes = Math.Min(_inEnd - _inStart, replies.Payload.Length);
        if (bytes == 0)
            return;
        _inbox.Span.Slice(_inStart, bytes).CopyTo(replies.Payload.Span);
        _inStart += bytes;
        if (replies.Filled(bytes) is { } wrong)
            Fail(Broken(wrong));
    }

    private void Negotiate()
    {
        var output = new ArrayBufferWriter<byte>();
        var step = _handshake.Advance(_inbox.Span[_inStart.._inEnd], out var consumed, output);
        _inStart += consumed;
        QueueBytes(output.WrittenSpan);
        switch (step)
        {
            case ClientStep.StartTls:
                StartTls();
                break;
            case ClientStep.Transmission:
                _replies = new NbdReplies(_handshake.Export!, _loop, Freed);
                EndOpening(FetchResult.Done);
                break;
            case ClientStep.Refused:
                Fail(_handshake.Refusal);
                break;
        }
    }

    private void QueueBytes(ReadOnlySpan<byte> bytes)
    {
        if (bytes.IsEmpty)
            return;
        bytes.CopyTo(Outgoing(bytes.Length));
        _outEnd += bytes.Length;
        PostFlush();
    }

    /// <summary>Room behind what waits to be sent.</summary>
    private Span<byte> Outgoing(int bytes)
    {
        if (_outStart == _outEnd && !_socket.IsSending)
            _outStart = _outEnd = 0;
        if (OutboxBytes - _outEnd < bytes && !_socket.IsSending)
        {
            _outbox.Span[_outStart.._outEnd].CopyTo(_outbox.Span);
            (_outStart, _outEnd) = (0, _outEnd - _outStart);
        }

        Invariant.Holds(OutboxBytes - _outEnd >= bytes, "requests have room: their number is limited", _outEnd, bytes);
        return _outbox.Span.Slice(_outEnd, bytes);
    }

    /// <summary>Requests that are made in one round go together.</summary>
    private void PostFlush()
    {
        if (_flushIsPosted)
            return;
        _flushIsPosted = true;
        _loop.Post(_flush);
    }

    /// <summary>Sends at once what the socket takes, and leaves the rest to the ring.</summary>
    private void Flush()
    {
        while (_failure is null && !_socket.IsSending)
        {
            var waiting = _tls is null ? _outbox.Slice(_outStart, _outEnd - _outStart) : NextCipher();
            if (waiting.IsEmpty)
                return;
            var sent = _socket.TrySend(waiting);
            if (sent > 0)
                Advance(sent);
            else if (sent == -Errno.EAGAIN)
                _socket.Send(waiting);
            else
                Fail(Lost(Errno.Text(sent)));
        }
    }

    private void Advance(int sent)
    {
        if (_tls is null)
            _outStart += sent;
        else
            _cipherStart += sent;
    }

    private void EndOpening(FetchResult result)
    {
        if (_opening is not { } source)
            return;
        _opening = null;
        _loop.Post(() => source.SetResult(result));
    }

    private void FinishIfIdle()
    {
        if (_isEnded || _socket.IsReceiving || _socket.IsSending)
            return;
        _isEnded = true;
        _socket.Dispose();
        _loop.Buffers.Return(_inbox);
        _loop.Buffers.Return(_outbox);
        EndTls();
        EndOpening(_failure!.Value);
        _replies?.EndAll(_failure!.Value);
        _ended(this);
    }
}
