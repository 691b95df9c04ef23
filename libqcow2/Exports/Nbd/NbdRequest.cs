using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using Qcow2Blk.Buffers;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Image;
using Qcow2Blk.Protocol;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>
/// One request of a client from its header to its reply. Pooled per loop: it owns the memory of its reply header,
/// and its number on the ring, for good.
/// </summary>
/// <remarks>
/// Two ways: directly on the ring of its own loop when the range is mapped, or handed whole to the home loop.
/// Invariant: the header memory lives as long as the object, which the loop's pool keeps for ever.
/// </remarks>
internal sealed unsafe partial class NbdRequest : IDirectTransferOwner, ICompletionSink<int>, IGatedRequest, IBudgetedWork
{
    // Room for the chunk headers of a sparse read; what has more pieces is answered with plain data at the end.
    public const int MaximumPieces = 16;

    // From here on a read is part of a copy, and moving zeroes costs more than asking whether there is anything else.
    private const int LargeRead = 64 * 1024;

    private readonly NbdLoop _loop;
    private readonly Action _executeAtHome;
    private readonly Action _completeOnLoop;
    private readonly DirectTransfer _transfer;
    private RequestWay _way;
    private RequestWaits _waits;
    private int _result;

    public NbdRequest(NbdLoop loop)
    {
        _loop = loop;
        _transfer = new DirectTransfer(loop.Loop, this);
        _executeAtHome = ExecuteAtHome;
        _completeOnLoop = () => Connection.Completed(this, _result);
        Long = new LongRequest(loop.Served, loop.Gate);
        Head = new NativeBuffer((nint)NativeMemory.AlignedAlloc(HeadBytes, 64), HeadBytes);
    }

    private const int HeadBytes = MaximumPieces * 64;

    /// <summary>The next one in whatever list the request is in.</summary>
    public NbdRequest? Next { get; set; }

    public NbdConnection Connection { get; set; } = null!;

    public RequestHeader Header;

    public IoKind Kind => Header.Command switch
    {
        NbdCommand.Read => IoKind.Read,
        NbdCommand.Write => IoKind.Write,
        _ => IoKind.Other,
    };

    IoKind IGatedRequest.LimitedAs => Header.Command switch
    {
        NbdCommand.Read => IoKind.Read,
        NbdCommand.Write or NbdCommand.WriteZeroes or NbdCommand.Trim => IoKind.Write,
        _ => IoKind.Other,
    };

    long IGatedRequest.LimitedBytes => Header.Command is NbdCommand.Read or NbdCommand.Write ? (long)Header.Length : 0;

    /// <summary>Payload of a write, room for a read; empty for others.</summary>
    public NativeBuffer Buffer { get; set; }

    /// <summary>Set if the payload lies in received bytes; else the buffer is the request's own.</summary>
    public ReceiveChunk? Chunk { get; set; }

    /// <summary>Memory for reply headers.</summary>
    public NativeBuffer Head { get; }

    /// <summary>The pieces of a sparse read's reply; empty for one piece of data.</summary>
    public List<ReadPiece> Pieces { get; } = new(MaximumPieces);

    /// <summary>What a block status request has found.</summary>
    public List<DiskExtent> Extents { get; } = [];

    /// <summary>Timestamp of the batch in which the request came.</summary>
    public long Started { get; set; }

    /// <summary>NBD error of the reply.</summary>
    public uint Error { get; set; }

    /// <summary>Bytes of the reply after its first header, for block status.</summary>
    public int ReplyLength { get; set; }

    /// <summary>Bytes that count against the connection's memory limit.</summary>
    public int AccountedBytes { get; set; }

    /// <summary>How far a discard or write of zeroes has come.</summary>
    public LongRequest Long { get; }

    /// <summary>Whether what may end early should: the gate is being shut. Any thread.</summary>
    public bool IsPressed => _loop.Gate.Held;

    public long Offset => (long)Header.Offset;

    /// <summary>Tries the short way: one submission on this loop's ring, or none where the answer is known to be zeroes.</summary>
    private bool TryStartDirect(IDisk disk)
    {
        var isWrite = Header.Command == NbdCommand.Write;

        // A client that understands holes is told of them the long way.
        switch (_transfer.Map(disk, isWrite, Offset, Buffer.Length, orZeroes: !isWrite && !Connection.SendsHoles))
        {
            case DirectMapping.Zeroes:
                _way = RequestWay.Zeroes;
                Buffer.Clear();
                Connection.Completed(this, 0);
                return true;
            case DirectMapping.File when IsWorthAsking(isWrite) || !MakeSuitable(isWrite):
                _transfer.Leave();
                return false;
            case DirectMapping.File:
                _way = RequestWay.Direct;
                _transfer.Start(Buffer.Address);
                return true;
            default:
                return false;
        }
    }

    /// <summary>The long way: the home loop does all of it.</summary>
    private void StartAtHome()
    {
        _way = RequestWay.Home;
        if (_loop.Loop == _loop.Served.Home)
            ExecuteAtHome();
        else
            _loop.Served.Home.PostFromAnyThread(_executeAtHome);
    }

    void IGatedRequest.NoteWait(RequestWaits reason) => _waits |= reason;

    /// <summary>Its slot carries another request from now on.</summary>
    public void Reset()
    {
        _waits = RequestWaits.None;
        Long.Reset();
    }

    /// <summary>What is to be said of it when it is traced.</summary>
    /// <param name="now">when its answer was sent</param>
    public TraceRecord Trace(long now) => new(
        TracedAs, _way, _waits, (ushort)_loop.Loop.Index, (int)Error, Offset, (long)Header.Length, Started, now - Started);

    private RequestOperation TracedAs => Header.Command switch
    {
        NbdCommand.Read => RequestOperation.Read,
        NbdCommand.Write => RequestOperation.Write,
        NbdCommand.WriteZeroes => RequestOperation.WriteZeroes,
        NbdCommand.Trim => RequestOperation.Discard,
        NbdCommand.Flush => RequestOperation.Flush,
        NbdCommand.Cache => RequestOperation.Prefetch,
        NbdCommand.BlockStatus => RequestOperation.BlockStatus,
        _ => RequestOperation.Unknown,
    };

    void IGatedRequest.Restart() => Start();

    /// <summary>Does it, the short way if there is one.</summary>
    public void Start()
    {
        var direct = Header.Command == NbdCommand.Read || (Header.Command == NbdCommand.Write && !Header.Has(CommandFlags.Fua));
        if (!direct || Header.Length == 0 || !TryStartDirect(_loop.Served.Disk))
            StartAtHome();
    }

    void IGatedRequest.Refuse(int error) => Connection.Completed(this, error, final: true);

    /// <summary>Short or failed: the careful way finds out what it is.</summary>
    void IDirectTransferOwner.DirectTransferEnded(int result)
    {
        if (result == Buffer.Length)
            Connection.Completed(this, 0);
        else
            StartAtHome();
    }

    /// <summary>The home loop is done with the request (and this runs there).</summary>
    void ICompletionSink<int>.Completed(int result)
    {
        _loop.Served.Budget?.End(WorkBytes);
        _result = result;
        if (_loop.Loop == _loop.Served.Home)
            Connection.Completed(this, result);
        else
            _loop.Loop.PostFromAnyThread(_completeOnLoop);
    }

    private void ExecuteAtHome()
    {
        if (_loop.Served.Budget is { } budget)
            budget.Begin(this);
        else
            BeginWork();
    }

    /// <summary>What the request may need of the home loop's memory, but for its buffer.</summary>
    public long WorkBytes => Buffer.IsEmpty ? 0 : _loop.Served.WorkBytesOf(Buffer.Length);

    public void BeginWork() => ExecuteAsync(_loop.Served.Disk).CompleteInto(this);

    /// <summary>Whether a client that understands holes may be spared much data: only the long way finds out.</summary>
    private bool IsWorthAsking(bool isWrite) =>
        _transfer.MayBeHole && !isWrite && Buffer.Length >= LargeRead && Connection.SendsHoles && !Header.Has(CommandFlags.Df)
        && !_transfer.File.IsKnownData(_transfer.HostOffset, Buffer.Length);

    /// <summary>Whether the file takes this memory as it is; a payload that lies badly is moved.</summary>
    private bool MakeSuitable(bool isWrite)
    {
        if ((Buffer.Address & (_transfer.MemoryAlignment - 1)) == 0)
            return true;
        if (!isWrite)
            return false;
        MoveOutOfChunk();
        return true;
    }

    /// <summary>Gives a payload that lies in received bytes a buffer of its own.</summary>
    public void MoveOutOfChunk()
    {
        if (Chunk is not { } chunk)
            return;
        var moved = _loop.Loop.Buffers.Rent(Buffer.Length);
        Buffer.Span.CopyTo(moved.Span);
        chunk.Release();
        Chunk = null;
        Buffer = moved;
    }
}

/// <summary>A piece of a read's reply, relative to the start of the read.</summary>
internal readonly record struct ReadPiece(int Start, int Length, bool IsHole);
