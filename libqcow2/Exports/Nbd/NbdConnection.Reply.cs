using System;
using System.Threading;
using Qcow2Blk.Interop;
using Qcow2Blk.Protocol;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>Replies: whatever is ready when the socket is free goes out in one message.</summary>
internal sealed partial class NbdConnection
{
    private readonly Action _flushReplies;
    private NbdRequest? _readyHead;
    private NbdRequest? _readyTail;
    private bool _flushPosted;

    /// <summary>A request has ended. Loop thread.</summary>
    /// <param name="request">the request</param>
    /// <param name="result">0 or a count, or a negative errno</param>
    /// <param name="final">whether lack of space must be told even if such requests are parked</param>
    public void Completed(NbdRequest request, int result, bool final = false)
    {
        if (result == LongRequest.Interrupted)
        {
            _loop.Gate.Interrupted(request);
            return;
        }

        if (result == -Errno.ENOSPC && _loop.Served.ParkOnNoSpace && !final && !_closing)
        {
            // For who knows how long: it must not keep all of what was received with it.
            request.MoveOutOfChunk();
            _loop.Gate.Park(request);
            return;
        }

        request.Error = result < 0 ? NbdErrors.FromErrno(-result) : NbdErrors.Success;
        if (request.Header.Command == NbdCommand.Write)
            ReleaseBuffer(request); // Its memory is the next request's sooner.
        _loop.Gate.Ended();
        Reply(request);
    }

    /// <summary>Queues the reply; it goes out with all that become ready in the same round of the loop.</summary>
    private void Reply(NbdRequest request)
    {
        if (_closing)
        {
            Release(request);
            _unanswered--;
            FinishClose();
            return;
        }

        if (_readyTail is null)
            _readyHead = request;
        else
            _readyTail.Next = request;
        _readyTail = request;
        if (_flushPosted)
            return;
        _flushPosted = true;
        _loop.Loop.Post(_flushReplies);
    }

    private void FlushReplies()
    {
        _flushPosted = false;
        var sent = false;
        while (!_send.IsBusy && !_closing)
        {
            _send.AddHandshake();
            while (_readyHead is not null && _send.HasRoom)
                _send.Add(TakeReady());
            if (!_send.HasBytes)
                break;
            sent |= _send.Submit();
        }

        if (sent && !_closing)
            Sent();
        FinishClose();
    }

    private NbdRequest TakeReady()
    {
        var request = _readyHead!;
        _readyHead = request.Next;
        if (_readyHead is null)
            _readyTail = null;
        request.Next = null;
        return request;
    }

    /// <summary>Replies have gone out.</summary>
    private void Sent()
    {
        CloseIfAllSent();

        // Memory and slots are free again: requests that had to wait for them may begin.
        if (_starved && !_closing)
            Process();
    }

    private void DropReady()
    {
        while (_readyHead is not null)
        {
            var request = _readyHead;
            _readyHead = request.Next;
            request.Next = null;
            Release(request);
            _unanswered--;
        }

        _readyTail = null;
    }

    private void Answered(NbdRequest request, long now)
    {
        _loop.Statistics.Count(request.Kind, request.Error == 0 ? (long)request.Header.Length : 0, request.Error != 0,
            now - request.Started);
        if (_loop.Served.Trace.Session is { } trace)
            trace.Add(request.Trace(now));
        Release(request);
        _unanswered--;
        Volatile.Write(ref _answers, _answers + 1);
    }

    private void Release(NbdRequest request)
    {
        ReleaseBuffer(request);
        _share.Return(request.AccountedBytes);
        request.AccountedBytes = 0;
        _loop.Return(request);
    }

    private void ReleaseBuffer(NbdRequest request)
    {
        if (request.Chunk is { } chunk)
            chunk.Release();
        else if (!request.Buffer.IsEmpty)
            _pool.Return(request.Buffer);
        request.Chunk = null;
        request.Buffer = default;
    }
}
