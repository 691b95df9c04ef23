using System;
using System.Collections.Generic;
using Qcow2Blk.Exports;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Exports;

public sealed class RequestGateTests : IDisposable
{
    private readonly SimulatedLoop _loop = new(1);
    private readonly RequestGate _gate;

    public RequestGateTests() => _gate = new RequestGate(_loop);

    public void Dispose() => _loop.Dispose();

    [Fact]
    public void Drained_is_reported_when_the_last_request_in_progress_ends()
    {
        var drained = 0;
        _gate.Began();
        _gate.Began();
        _gate.Hold(() => drained++);
        _gate.Ended();
        Assert.Equal(0, drained);
        _gate.Ended();
        Assert.Equal(1, drained);
    }

    [Fact]
    public void A_gate_with_nothing_in_progress_is_drained_at_once()
    {
        var drained = false;
        _gate.Hold(() => drained = true);
        Assert.True(drained);
        Assert.True(_gate.IsShut);
    }

    [Fact]
    public void Requests_that_waited_begin_in_the_order_in_which_they_came()
    {
        var log = new List<string>();
        _gate.Hold(() => { });
        _gate.Wait(new Request(log, "first"));
        _gate.Wait(new Request(log, "second"));
        Assert.Equal(2, _gate.Waiting);
        Assert.Empty(log);
        _gate.Release();
        Assert.Equal(["first restarted", "second restarted"], log);
        Assert.Equal(2, _gate.Active);
    }

    [Fact]
    public void A_request_without_space_is_tried_again_after_a_second()
    {
        var log = new List<string>();
        _loop.Run(() => Park(log));
        Assert.Equal(["full restarted"], log);
        Assert.Equal(1, _gate.Active);
    }

    [Fact]
    public void A_request_without_space_is_not_tried_while_the_gate_is_held()
    {
        var log = new List<string>();
        _gate.Hold(() => { });
        _loop.Run(() => Park(log));
        Assert.Empty(log);
        Assert.Equal(1, _gate.Parked);
        _gate.Release();
        Assert.Equal(["full restarted"], log);
    }

    [Fact]
    public void A_request_that_found_no_space_before_the_gate_was_held_waits_for_the_release()
    {
        var log = new List<string>();
        _gate.Began();
        _gate.Park(new Request(log, "full"));
        var drained = false;
        _gate.Hold(() => drained = true);
        Assert.True(drained, "what waits for space is not in progress");
        _loop.RunUntilComplete(_loop.DelayAsync(5000));
        Assert.Empty(log);
        _gate.Release();
        Assert.Equal(["full restarted"], log);
    }

    [Fact]
    public void Requests_without_space_can_be_refused_one_by_one_or_all()
    {
        var log = new List<string>();
        foreach (var name in new[] { "first", "second", "third" })
        {
            _gate.Began();
            _gate.Park(new Request(log, name));
        }

        _gate.RefuseParked(request => ((Request)request).Name == "second");
        Assert.Equal(["second refused with -5"], log);
        Assert.Equal((2, 1), (_gate.Parked, _gate.Active));
        _gate.RefuseParked();
        Assert.Equal(["first refused with -28", "third refused with -28"], log[1..]);
        Assert.Equal((0, 3), (_gate.Parked, _gate.Active));
    }

    [Fact]
    public void Refusing_ends_what_waits_for_space_too()
    {
        var log = new List<string>();
        _gate.Began();
        _gate.Park(new Request(log, "full"));
        _gate.RefuseWaiting(-Errno.EIO);
        Assert.Equal(["full refused with -5"], log);
    }

    [Fact]
    public void Refusing_ends_what_waits_and_what_comes_but_not_what_comes_after_a_release()
    {
        var log = new List<string>();
        _gate.Hold(() => { });
        _gate.Wait(new Request(log, "waiting"));
        _gate.RefuseWaiting(-Errno.EIO);
        _gate.Wait(new Request(log, "late"));
        Assert.Equal(["waiting refused with -5", "late refused with -5"], log);
        Assert.False(_gate.IsShut);
        _gate.Release();
        Assert.Equal(0, _gate.Refusal);
    }

    [Fact]
    public void Request_that_was_interrupted_goes_on_when_the_gate_opens_and_lets_it_shut_meanwhile()
    {
        var log = new List<string>();
        var drained = false;
        _gate.Began();
        _gate.Hold(() => drained = true);

        _gate.Interrupted(new Request(log, "long"));

        Assert.Equal((true, 0, 1, 0), (drained, _gate.Active, _gate.Waiting, log.Count));
        _gate.Release();
        Assert.Equal(["long restarted"], log);
        Assert.Equal(1, _gate.Active);
    }

    [Fact]
    public void Request_that_was_interrupted_by_a_gate_that_is_open_again_goes_on_at_once()
    {
        var log = new List<string>();
        _gate.Began();
        _gate.Interrupted(new Request(log, "long"));
        _gate.RefuseWaiting(-Errno.ESHUTDOWN);
        _gate.Interrupted(new Request(log, "long"));
        Assert.Equal(["long restarted", "long refused with -108"], log);
        Assert.Equal(1, _gate.Active);
    }

    [Fact]
    public void Only_those_that_are_meant_are_refused_and_the_others_keep_their_order()
    {
        var log = new List<string>();
        var requests = new[] { new Request(log, "first"), new Request(log, "second"), new Request(log, "third") };
        _gate.Hold(() => { });
        foreach (var request in requests)
            _gate.Wait(request);

        _gate.RefuseWaiting(request => request == requests[1]);
        _gate.Release();

        Assert.Equal(["second refused with -5", "first restarted", "third restarted"], log);
    }

    private async LoopTask<int> Park(List<string> log)
    {
        _gate.Began();
        _gate.Park(new Request(log, "full"));
        await _loop.DelayAsync(1500);
        return 0;
    }

    private sealed class Request(List<string> log, string name) : IGatedRequest
    {
        public IoKind LimitedAs => IoKind.Other;

        public long LimitedBytes => 0;

        public void NoteWait(RequestWaits reason)
        {
            // Nobody traces it.
        }

        public string Name => name;

        public void Restart() => log.Add($"{name} restarted");

        public void Refuse(int error) => log.Add($"{name} refused with {error}");
    }
}
