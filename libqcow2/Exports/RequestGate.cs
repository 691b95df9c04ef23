using System;
using System.Collections.Generic;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Exports;

/// <summary>A request that a <see cref="RequestGate"/> can hold back.</summary>
internal interface IGatedRequest
{
    /// <summary>Which limits hold for it: those of reads, those of writes, or none.</summary>
    IoKind LimitedAs { get; }

    /// <summary>Bytes that it moves, as limits count them.</summary>
    long LimitedBytes { get; }

    /// <summary>It has to wait for this before it begins.</summary>
    void NoteWait(RequestWaits reason);

    /// <summary>Begins, or begins anew, what the request asks for. It counts as in progress already.</summary>
    void Restart();

    /// <summary>Ends the request with this negative errno. It counts as in progress already.</summary>
    void Refuse(int error);
}

/// <summary>
/// The gate before the requests of one loop: it counts those in progress, holds all others while the device is
/// suspended, and keeps those aside that found no space in the file system, or that a limit holds back. Belongs to its loop.
/// </summary>
internal sealed class RequestGate
{
    private const int RetryMilliseconds = 1000;

    private readonly LoopScheduler _loop;
    private readonly Action<int>? _stalls;
    private readonly LimitQueue? _limited;
    private readonly Queue<IGatedRequest> _waiting = new();
    private readonly Queue<IGatedRequest> _parked = new();
    private Action? _drained;
    private volatile bool _held;
    private bool _retryScheduled;
    private int _stalled;

    /// <param name="loop">where it belongs</param>
    /// <param name="stalls">told how many more requests wait for space than it was told before, or how many fewer; on the loop</param>
    /// <param name="limits">of the device; null if it has none</param>
    public RequestGate(LoopScheduler loop, Action<int>? stalls = null, RequestLimits? limits = null)
    {
        (_loop, _stalls) = (loop, stalls);
        _limited = limits is null ? null : new LimitQueue(loop, limits, Resume);
    }

    /// <summary>Requests wait at the gate: the device is suspended, or on its way there. Any thread, a little late.</summary>
    public bool Held => _held;

    /// <summary>The negative errno that every request gets now instead of being served; 0 if none.</summary>
    public int Refusal { get; private set; }

    /// <summary>Whether requests must wait: held, and not refused.</summary>
    public bool IsShut => Held && Refusal == 0;

    /// <summary>Requests in progress.</summary>
    public int Active { get; private set; }

    /// <summary>Requests that wait for space in the file system.</summary>
    public int Parked => _parked.Count;

    /// <summary>Requests that came while the gate was closed.</summary>
    public int Waiting => _waiting.Count;

    /// <summary>Requests that a limit holds back.</summary>
    public int Limited => _limited?.Count ?? 0;

    /// <summary>Asks whether the limits let a request begin that may begin otherwise.</summary>
    /// <returns>false if it is kept, and restarted later</returns>
    public bool PassesLimits(IGatedRequest request) => _limited is not { IsNeeded: true } limited || limited.TryPass(request);

    /// <summary>A request begins to work on the disk.</summary>
    public void Began() => Active++;

    /// <summary>A request has done what it asked for (its reply may still be on the way).</summary>
    public void Ended()
    {
        Active--;
        ReportDrained();
    }

    /// <summary>Lets no request begin any more; calls <paramref name="drained"/> when those in progress have ended.</summary>
    public void Hold(Action drained)
    {
        _limited?.Hold();
        _held = true;
        _drained = drained;
        ReportDrained();
    }

    /// <summary>Lets requests begin again, first those that waited.</summary>
    public void Release()
    {
        _held = false;
        _drained = null;
        Refusal = 0;
        RestartAll(_parked);
        RestartAll(_waiting);
        _limited?.Release();
        // Whether they found space this time is told too.
        if (_stalled > 0)
            RetryLater();
    }

    /// <summary>Keeps a request for the time when the gate opens.</summary>
    public void Wait(IGatedRequest request)
    {
        if (Refusal == 0)
        {
            request.NoteWait(RequestWaits.Suspend);
            _waiting.Enqueue(request);
            return;
        }

        Refuse(request, Refusal);
    }

    /// <summary>Takes back a request in progress that stopped half-way because the gate is held: it goes on when the gate opens.</summary>
    public void Interrupted(IGatedRequest request)
    {
        if (!Held)
        {
            request.Restart();
        }
        else if (Refusal != 0)
        {
            request.Refuse(Refusal);
        }
        else
        {
            request.NoteWait(RequestWaits.Suspend);
            _waiting.Enqueue(request);
            Ended();
        }
    }

    /// <summary>Puts a request in progress aside that found no space; it is tried again every second, and after a resume.</summary>
    public void Park(IGatedRequest request)
    {
        request.NoteWait(RequestWaits.Space);
        _parked.Enqueue(request);
        if (_parked.Count > _stalled)
            TellStalled();
        Ended();
        if (!Held)
            RetryLater();
    }

    /// <summary>Ends the requests that wait for space with ENOSPC: nobody will make room for them.</summary>
    public void RefuseParked() => RefuseAll(_parked, -Interop.Errno.ENOSPC);

    /// <summary>Ends those that wait for space and that this says are to go, with EIO.</summary>
    public void RefuseParked(Predicate<IGatedRequest> which) => RefuseSome(_parked, which);

    /// <summary>Ends those that wait for the gate to open, or for a limit, and that this says are to go, with EIO.</summary>
    public void RefuseWaiting(Predicate<IGatedRequest> which)
    {
        RefuseSome(_waiting, which);
        _limited?.Remove(which, request => Refuse(request, -Interop.Errno.EIO));
    }

    /// <summary>Ends what waits with this errno, and whatever comes until <see cref="Release"/>: the disk is gone for good.</summary>
    public void RefuseWaiting(int error)
    {
        _held = true;
        Refusal = error;
        RefuseAll(_parked, error);
        RefuseAll(_waiting, error);
        _limited?.Remove(_ => true, request => Refuse(request, error));
    }

    private void ReportDrained()
    {
        if (Active > 0 || _drained is null)
            return;
        var drained = _drained;
        _drained = null;
        drained();
    }

    private void RetryLater()
    {
        if (_retryScheduled)
            return;
        _retryScheduled = true;
        RetryLaterAsync().Forget();
    }

    private async LoopTask<int> RetryLaterAsync()
    {
        do
        {
            await _loop.DelayAsync(RetryMilliseconds);
            // What was tried again a second ago and did not come back has found its space.
            TellStalled();
            if (!Held)
                RestartAll(_parked);
        }
        while (!Held && _stalled > 0);
        _retryScheduled = false;
        return 0;
    }

    private void TellStalled()
    {
        if (_parked.Count == _stalled)
            return;
        _stalls?.Invoke(_parked.Count - _stalled);
        _stalled = _parked.Count;
    }

    private void RestartAll(Queue<IGatedRequest> requests)
    {
        // Only what was there at the start: a request may come back at once.
        for (var i = requests.Count; i > 0; i--)
            Resume(requests.Dequeue());
    }

    private void Resume(IGatedRequest request)
    {
        Active++;
        request.Restart();
    }

    private void Refuse(IGatedRequest request, int error)
    {
        Active++;
        request.Refuse(error);
    }

    private void RefuseSome(Queue<IGatedRequest> requests, Predicate<IGatedRequest> which)
    {
        for (var i = requests.Count; i > 0; i--)
        {
            var request = requests.Dequeue();
            if (!which(request))
            {
                requests.Enqueue(request);
                continue;
            }

            Refuse(request, -Interop.Errno.EIO);
        }

        if (_parked.Count < _stalled)
            TellStalled();
    }

    private void RefuseAll(Queue<IGatedRequest> requests, int error)
    {
        for (var i = requests.Count; i > 0; i--)
            Refuse(requests.Dequeue(), error);

        if (_parked.Count < _stalled)
            TellStalled();
    }
}
