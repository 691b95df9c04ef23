using System;
using System.Diagnostics;
using System.Numerics;
using Qcow2Blk.Protocol;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>From received bytes to requests that run.</summary>
internal sealed partial class NbdConnection
{
    private const int MaximumRequests = 1024;

    // A payload up to this size is moved to a new chunk when it does not fit the old; a larger one gets its own memory.
    private const int LargestMovedPayload = 32 * 1024;

    private NbdRequest? _refused;
    private int _headerSize;
    private bool _starved;

    /// <summary>Begins every request that is complete and may begin, then waits for more.</summary>
    private void Process()
    {
        if (_closing)
            return;
        while (_handshake is not null && !_stopReading)
        {
            var before = _chunk.Start;
            Advance();
            if (_chunk.Start == before || _chunk.Available == 0)
                break;
        }

        _starved = false;
        if (_guard is not null && _chunk.Available > 0 && !_guard.MayBegin())
            return; // Continues when the guard says so.
        if (_session is not null)
        {
            var now = Stopwatch.GetTimestamp();
            while (BeginNext(now))
            {
            }
        }

        ArmReceive();
    }

    /// <returns>whether it is worth to look for another request</returns>
    private bool BeginNext(long now)
    {
        _isCutOff = false;
        if (_payloadOf is not null || _heldRequest is not null || _stopReading || !Drain())
            return false;
        var chunk = _chunk;
        if (chunk.Available == 0 || _loop.Gate.IsShut)
            return false;
        if (chunk.Available < _headerSize)
            return WaitForRest();
        if (_unanswered >= MaximumRequests)
            return Starve();
        var received = chunk.Memory.Span[chunk.Start..chunk.End];
        if (!RequestHeader.TryParse(received, Session.ExtendedHeaders, out var header, out var badMagic))
            return badMagic && RejectStream("a request does not begin with the magic number");
        var verdict = _rules.Validate(header, _loop.Served.Size);
        if (verdict.Error != NbdErrors.Success || verdict.MustClose)
            return Refuse(header, verdict, now);
        if (header.Command == NbdCommand.Disconnect)
        {
            CloseAfterReplies();
            return false;
        }

        var memory = MemoryFor(header, (int)verdict.PayloadLength);
        if (_share.Used > 0 && _share.Used + memory > _loop.Served.PipelineBytes)
            return Starve();
        return verdict.PayloadLength > 0
            ? BeginWrite(header, (int)verdict.PayloadLength, now)
            : BeginWithoutPayload(header, memory, now);
    }

    /// <summary>No request may begin until replies have gone out, or memory is there.</summary>
    private bool Starve()
    {
        _starved = true;
        return false;
    }

    /// <summary>A request has begun to come: the client owes its rest.</summary>
    private bool WaitForRest()
    {
        _isCutOff = true;
        _loop.WatchClients();
        return false;
    }

    private int MemoryFor(in RequestHeader header, int payload) => header.Command switch
    {
        NbdCommand.Read => (int)header.Length,
        NbdCommand.BlockStatus => BlockStatusReply.BufferBytes(Session),
        _ => payload,
    };

    /// <summary>Takes the memory that a buffer of its own will have, as the pool rounds it.</summary>
    private bool TryUseBuffer(int length, out int accounted)
    {
        accounted = length == 0 ? 0 : (int)BitOperations.RoundUpToPowerOf2((uint)length);
        return _share.TryUse(accounted);
    }

    private bool BeginWithoutPayload(in RequestHeader header, int memory, long now)
    {
        if (!TryUseBuffer(memory, out var accounted))
            return Starve();
        _chunk.Start += _headerSize;
        var request = NewRequest(header, accounted, now);
        if (memory > 0)
            request.Buffer = _pool.Rent(memory);
        Begin(request);
        return true;
    }

    private bool BeginWrite(in RequestHeader header, int payload, long now)
    {
        var chunk = _chunk;
        var whole = _headerSize + payload;
        if (chunk.Available >= whole)
        {
            if (!_share.TryUse(payload))
                return Starve();
            var request = NewRequest(header, payload, now);
            request.Buffer = chunk.Memory.Slice(chunk.Start + _headerSize, payload);
            request.Chunk = chunk;
            chunk.AddReference();
            chunk.Start += whole;
            Begin(request);
            return true;
        }

        // A receive under way still writes behind what is here: the chunk must stay as it is until it has ended.
        if (_receive.IsBusy)
            return WaitForRest();
        if (chunk.Start + whole <= chunk.Memory.Length && payload <= LargestMovedPayload)
            return WaitForRest(); // The rest will be received right behind it.
        if (payload <= LargestMovedPayload)
        {
            MoveToNewChunk();
            return WaitForRest();
        }

        if (!TryUseBuffer(payload, out var accounted))
            return Starve();
        ExpectPayload(header, payload, accounted, now);
        return false;
    }

    /// <summary>Gives a large payload memory of its own, and receives the rest of it there.</summary>
    private void ExpectPayload(in RequestHeader header, int payload, int accounted, long now)
    {
        var chunk = _chunk;
        var request = NewRequest(header, accounted, now);
        request.Buffer = _pool.Rent(payload);
        chunk.Start += _headerSize;
        var here = chunk.Memory.Span[chunk.Start..chunk.End];
        here.CopyTo(request.Buffer.Span);
        _payloadReceived = here.Length;
        chunk.Start = chunk.End;
        if (chunk.IsExclusive)
            chunk.Start = chunk.End = 0;
        else if (chunk.Room < SmallestReceive)
            MoveToNewChunk();
        _payloadOf = request;
        _loop.WatchClients();
    }

    /// <param name="header">what is asked for</param>
    /// <param name="accounted">bytes of the connection's share that it uses, taken already</param>
    /// <param name="now">when it came</param>
    private NbdRequest NewRequest(in RequestHeader header, int accounted, long now)
    {
        var request = _loop.Rent();
        request.Connection = this;
        request.Header = header;
        request.Buffer = default;
        request.Chunk = null;
        request.Started = now;
        request.Error = NbdErrors.Success;
        request.ReplyLength = 0;
        request.Pieces.Clear();
        request.Reset();
        request.AccountedBytes = accounted;
        _unanswered++;
        if (!_isInUse)
        {
            _isInUse = true;
            _guard?.InUse(_slot);
        }

        return request;
    }

    private void Begin(NbdRequest request)
    {
        if (_loop.Gate.Refusal == 0 && !_loop.Gate.PassesLimits(request))
        {
            // As one without space: it must not keep all of what was received with it.
            request.MoveOutOfChunk();
            return;
        }

        _loop.Gate.Began();
        if (_loop.Gate.Refusal < 0)
            Completed(request, _loop.Gate.Refusal, final: true);
        else
            request.Start();
    }

    /// <summary>Throws away what belongs to a refused request; answers it when all of that has come.</summary>
    /// <returns>whether all of it has come</returns>
    private bool Drain()
    {
        var here = (int)Math.Min(_drain, (uint)_chunk.Available);
        _chunk.Start += here;
        _drain -= (uint)here;
        if (_drain > 0)
        {
            _loop.WatchClients();
            return false;
        }

        if (_refused is { } request)
        {
            _refused = null;
            Reply(request);
        }

        return true;
    }

    private bool Refuse(in RequestHeader header, in RequestVerdict verdict, long now)
    {
        _chunk.Start += _headerSize;
        _drain = verdict.PayloadLength;
        var request = NewRequest(header, 0, now);
        request.Error = verdict.Error;

        // Not before its payload was received: a client that still sends does not expect an answer yet.
        _refused = request;
        var drained = Drain();
        if (!verdict.MustClose)
            return drained;
        _report($"closing a connection: request type {header.Type} with flags 0x{header.Flags:x} and length {header.Length} cannot be"
            + $" skipped");
        CloseAfterReplies();
        return false;
    }

    private bool RejectStream(string why)
    {
        _report($"closing a connection: {why}");
        Close();
        return false;
    }
}
