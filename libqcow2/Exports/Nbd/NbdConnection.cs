using System;
using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.Threading;
using Qcow2Blk.Buffers;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>
/// One client: receives, lets requests run side by side, sends replies as they come. Belongs to one loop.
/// This part is its life; receiving, dispatching and replying have files of their own.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "FinishClose disposes of the operations when the kernel is done with them")]
internal sealed partial class NbdConnection
{
    private readonly NbdLoop _loop;
    private readonly NativeBufferPool _pool;
    private readonly Action<string> _report;
    private readonly ReceiveOperation _receive;
    private readonly SendOperation _send;
    private readonly int _socket;
    private readonly MemoryShare _share;
    private Handshake? _handshake;
    private readonly ArrayBufferWriter<byte>? _handshakeOutput;
    private readonly IConnectionGuard? _guard;
    private readonly int _slot;
    private NegotiatedSession? _session;
    private RequestRules _rules;
    private int _unanswered;
    private int _answers;
    private bool _isInUse;
    private bool _stopReading;
    private bool _closeWhenSent;
    private bool _closing;
    private bool _closed;

    /// <param name="loop">the loop that serves it; the calling thread's</param>
    /// <param name="socket">a connected stream socket, the connection's from now on</param>
    /// <param name="catalog">what can be exported</param>
    /// <param name="report">told why a client was sent away</param>
    public NbdConnection(NbdLoop loop, int socket, IExportCatalog catalog, Action<string> report)
        : this(loop, socket, loop.Served.NewClient(), loop.Memory, report)
    {
        _handshake = new Handshake(catalog);
        _handshakeOutput = new ArrayBufferWriter<byte>(256);
    }

    /// <summary>A connection of the kernel, which begins with its first request: what a handshake settles was told otherwise.</summary>
    /// <param name="loop">the loop that serves it; the calling thread's</param>
    /// <param name="socket">a connected stream socket, the connection's from now on</param>
    /// <param name="session">what holds for it</param>
    /// <param name="guard">asked before requests begin, told of the end</param>
    /// <param name="slot">names the connection to the guard</param>
    /// <param name="unserved">what another process received on it and did not serve (<see cref="Leave"/>)</param>
    /// <param name="report">told why the connection was ended</param>
    public NbdConnection(
        NbdLoop loop, int socket, NegotiatedSession session, IConnectionGuard guard, int slot, ReadOnlyMemory<byte> unserved,
        Action<string> report)
        : this(loop, socket, loop.Served.BlockDevice, null, report)
    {
        _guard = guard;
        _slot = slot;
        _receive.Inherit(unserved);
        BeginTransmission(session);
    }

    private NbdConnection(NbdLoop loop, int socket, FlushClient flushes, RequestMemory? memory, Action<string> report)
    {
        _share = new MemoryShare(memory, loop.Loop, Process);
        Flushes = flushes;
        _loop = loop;
        _pool = loop.Loop.Buffers;
        _socket = socket;
        _report = report;
        _receive = new ReceiveOperation(this);
        _send = new SendOperation(this);
        _chunk = _loop.Chunks.Rent(ChunkBytes);
        _flushReplies = FlushReplies;
        Status = new BlockStatusReply(this);
        loop.Add(this);
    }

    /// <summary>Replies that went out. Any thread.</summary>
    public int Answers => Volatile.Read(ref _answers);

    /// <summary>Whether the client waits for nothing that was received. Its loop.</summary>
    public bool IsIdle => _unanswered == 0 && !_send.IsBusy && !_send.HasBytes;

    public NegotiatedSession Session => _session!;

    public BlockStatusReply Status { get; }

    /// <summary>What the client has been told of lost writes; all connections of the kernel are one client.</summary>
    public FlushClient Flushes { get; }

    /// <summary>Whether zeroes may be sent as holes.</summary>
    public bool SendsHoles { get; private set; }

    /// <summary>Greets the client, or waits for the kernel's first request.</summary>
    public void Start()
    {
        if (_session is not null)
        {
            ArmReceive();
            return;
        }

        Handshake.Greeting(_handshakeOutput!);
        SendHandshakeOutput();
        ArmReceive();
        _loop.WatchClients();
    }

    /// <summary>Looks at what has been received again: the gate is open, or another connection has ended.</summary>
    public void Continue()
    {
        if (_heldRequest is { } request && !_closing && !_leaving && !_loop.Gate.IsShut)
        {
            _heldRequest = null;
            Begin(request);
        }

        Process();
    }

    /// <summary>Ends the connection after a try to send the replies that are ready.</summary>
    public void CloseAfterReady()
    {
        if (!_closing)
            FlushReplies();
        Close();
    }

    /// <summary>Ends the connection; requests in progress still run to their end.</summary>
    public void Close()
    {
        if (_closing)
            return;
        _closing = true;
        _stopReading = true;

        // Wakes the receive and the send that wait; the descriptor is closed when both are done.
        Sockets.Shutdown(_socket, SHUT_RDWR);
        _share.Close();
        DropReady();
        if (_guard is not null)
            _loop.Gate.RefuseParked(IsOurs); // The kernel sends them anew: nothing of this connection may happen later.
        _loop.Gate.RefuseWaiting(IsOurs);
        if (!_receive.IsBusy)
            AbandonPayload();
        FinishClose();
    }

    private bool IsOurs(IGatedRequest request) => request is NbdRequest ours && ours.Connection == this;

    private void Advance()
    {
        var chunk = _chunk;
        var received = chunk.Memory.Span[chunk.Start..chunk.End];
        var status = _handshake!.Advance(received, out var consumed, _handshakeOutput!);
        chunk.Start += consumed;
        SendHandshakeOutput();
        switch (status)
        {
            case HandshakeStatus.Transmission:
                BeginTransmission(_handshake.Session);
                break;
            case HandshakeStatus.Close:
                if (_handshake.CloseReason is { } reason)
                    _report($"closing a connection during its handshake: {reason}");
                CloseAfterReplies();
                break;
        }
    }

    private void BeginTransmission(NegotiatedSession session)
    {
        _session = session;
        _rules = new RequestRules(session);
        SendsHoles = session.StructuredReplies;
        _handshake = null;
        _headerSize = RequestHeader.SizeOf(session.ExtendedHeaders);
    }

    private void SendHandshakeOutput()
    {
        if (_handshakeOutput!.WrittenCount == 0)
            return;
        _send.Queue(_handshakeOutput.WrittenSpan);
        _handshakeOutput.ResetWrittenCount();
        FlushReplies();
    }

    /// <summary>Answers what is under way, then closes.</summary>
    private void CloseAfterReplies()
    {
        _stopReading = true;
        _closeWhenSent = true;
        CloseIfAllSent();
    }

    private void CloseIfAllSent()
    {
        if (_closeWhenSent && _unanswered == 0 && !_send.IsBusy && !_send.HasBytes)
            Close();
    }

    private void FinishClose()
    {
        if (_leaving && !_closing)
            LeaveIfIdle();
        if (!_closing || _closed || _unanswered > 0 || _send.IsBusy || _receive.IsBusy)
            return;
        _closed = true;
        Files.Close(_socket);
        ReleaseAll();
        _guard?.Ended(_slot);
    }

    private void ReleaseAll()
    {
        _chunk.Release();
        _send.Dispose();
        _receive.Dispose();
        _loop.Remove(this);
    }
}
