using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Runtime.CompilerServices;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Uring;
using static Qcow2Blk.Interop.LibCurl;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Remote.Http;

/// <summary>
/// Drives libcurl on one loop: its sockets are polled by the loop's ring, its timer is one of the loop's. All sources of a loop share
/// it, and with it the connections.
/// </summary>
/// <remarks>Invariant: libcurl is never called from one of its own callbacks: what they say is noted, and acted on later.</remarks>
internal sealed class HttpEngine : ICurlDriver
{
    /// <summary>How often transfers are looked at for their deadlines: those are kept to within this.</summary>
    private const int TickMilliseconds = 100;

    /// <summary>Connections that are kept for the next request.</summary>
    private const int Connections = 16;

    private static readonly ConditionalWeakTable<EventLoop, HttpEngine> s_engines = [];

    private readonly EventLoop _loop;
    private readonly CurlMulti _multi;
    private readonly Dictionary<int, SocketPoll> _polls = [];
    private readonly Stack<SocketPoll> _freePolls = new();
    private readonly List<HttpTransfer> _transfers = [];
    private readonly Dictionary<CurlEasy, HttpTransfer> _byEasy = [];
    private readonly Stack<long> _wakeUps = new();
    private readonly WaitQueue _pollsStopped = new();
    private readonly Action _actOnTime;
    private int _users;
    private int _pollsBusy;
    private long _due;
    private bool _timePosted;
    private bool _ticking;

    private HttpEngine(EventLoop loop)
    {
        _loop = loop;
        _multi = CurlMulti.Create(this, Connections) ?? throw new InsufficientMemoryException("libcurl has no memory");
        _actOnTime = ActOnTime;
    }

    /// <summary>
    /// The engine of the loop that calls, made if there is none, when libcurl is loaded; until <see cref="ReleaseAsync"/>.
    /// </summary>
    public static HttpEngine Use()
    {
        var loop = EventLoop.Current;
        var engine = s_engines.GetValue(loop, static loop => new HttpEngine(loop));
        engine._users++;
        return engine;
    }

    /// <summary>Ends a use; the last one closes all connections. No transfer of the user may be under way.</summary>
    public async LoopTask<int> ReleaseAsync()
    {
        if (--_users > 0)
            return 0;
        s_engines.Remove(_loop);
        _multi.Dispose();
        foreach (var poll in _polls.Values)
            poll.Stop();
        _polls.Clear();
        while (_pollsBusy > 0)
            await _pollsStopped.WaitAsync();
        foreach (var poll in _freePolls)
            poll.Release();
        _freePolls.Clear();
        return 0;
    }

    /// <summary>Starts a transfer that is prepared; it is told when it has ended.</summary>
    public void Start(HttpTransfer transfer)
    {
        ArgumentNullException.ThrowIfNull(transfer);
        _transfers.Add(transfer);
        _byEasy[transfer.Easy] = transfer;
        if (_multi.Add(transfer.Easy) != CURLM_OK)
        {
            Forget(transfer);
            transfer.Ended(CURLE_OUT_OF_MEMORY);
            return;
        }

        if (!_ticking)
            TickAsync().Forget();
    }

    /// <summary>Ends a transfer that is under way, as one that failed with this.</summary>
    public void Abort(HttpTransfer transfer, int code)
    {
        ArgumentNullException.ThrowIfNull(transfer);
        if (!_byEasy.ContainsKey(transfer.Easy))
            return;
        Forget(transfer);
        _multi.Remove(transfer.Easy);
        transfer.Ended(code);
    }

    void ICurlDriver.Watch(int socket, int what)
    {
        if (what == CURL_POLL_REMOVE)
        {
            if (_polls.Remove(socket, out var old))
                old.Stop();
            return;
        }

        if (!_polls.TryGetValue(socket, out var poll))
        {
            if (!_freePolls.TryPop(out poll))
                poll = new SocketPoll(_loop, SocketReady, PollStopped);
            _polls[socket] = poll;
            _pollsBusy++;
        }

        var events = what switch
        {
            CURL_POLL_IN => (int)POLLIN,
            CURL_POLL_OUT => POLLOUT,
            CURL_POLL_INOUT => POLLIN | POLLOUT,
            _ => 0,
        };
        poll.Watch(socket, (short)events);
    }

    void ICurlDriver.SetTimer(long milliseconds)
    {
        if (milliseconds < 0)
        {
            _due = 0;
            return;
        }

        _due = Stopwatch.GetTimestamp() + (milliseconds * Stopwatch.Frequency / 1000);
        if (milliseconds == 0)
            PostTime();
        else
            WakeAt(_due, milliseconds);
    }

    private void PostTime()
    {
        if (_timePosted)
            return;
        _timePosted = true;
        _loop.Post(_actOnTime);
    }

    /// <summary>
    /// Delays cannot be taken back, so there is another one only if all that are under way are later; the nearest is on top.
    /// </summary>
    private void WakeAt(long due, long milliseconds)
    {
        if (_wakeUps.TryPeek(out var nearest) && nearest <= due)
            return;
        _wakeUps.Push(due);
        SleepAsync((int)Math.Min(milliseconds, int.MaxValue)).Forget();
    }

    private async LoopTask<int> SleepAsync(int milliseconds)
    {
        await _loop.DelayAsync(milliseconds);
        _wakeUps.Pop();
        if (_due == 0 || _users == 0)
            return 0;
        var left = (_due - Stopwatch.GetTimestamp()) * 1000 / Stopwatch.Frequency;
        if (left <= 0)
            PostTime();
        else
            WakeAt(_due, left + 1);
        return 0;
    }

    private void ActOnTime()
    {
        _timePosted = false;
        if (_users == 0)
            return;
        _due = 0;
        _multi.Act(CURL_SOCKET_TIMEOUT, 0);
        EndTransfers();
    }

    private void SocketReady(SocketPoll poll, int events)
    {
        var actions = (events & (POLLIN | POLLHUP)) != 0 ? CURL_CSELECT_IN : 0;
        if ((events & POLLOUT) != 0)
            actions |= CURL_CSELECT_OUT;
        if ((events & (POLLERR | POLLNVAL)) != 0)
            actions |= CURL_CSELECT_ERR;
        _multi.Act(poll.Descriptor, actions);
        EndTransfers();
    }

    private void PollStopped(SocketPoll poll)
    {
        _freePolls.Push(poll);
        if (--_pollsBusy == 0)
            _pollsStopped.WakeAll();
    }

    /// <summary>Tells transfers that have ended. What that leads to may start others, end others, or close all of this.</summary>
    private void EndTransfers()
    {
        while (_multi.TryTakeEnded(out var easy, out var code))
        {
            if (!_byEasy.TryGetValue(easy!, out var transfer))
                continue;
            Forget(transfer);
            transfer.Ended(code);
        }
    }

    private void Forget(HttpTransfer transfer)
    {
        _transfers.Remove(transfer);
        _byEasy.Remove(transfer.Easy);
    }

    /// <summary>Holds transfers to their deadlines for as long as there are any.</summary>
    private async LoopTask<int> TickAsync()
    {
        _ticking = true;
        while (_transfers.Count > 0)
        {
            await _loop.DelayAsync(TickMilliseconds);
            var now = Stopwatch.GetTimestamp();
            for (var i = _transfers.Count - 1; i >= 0; i--)
            {
                // One that ends may end others.
                if (i < _transfers.Count && _transfers[i].IsOverdue(now))
                    Abort(_transfers[i], CURLE_OPERATION_TIMEDOUT);
            }
        }

        _ticking = false;
        return 0;
    }
}
