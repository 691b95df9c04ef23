using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Exports;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Exports;

/// <summary>Requests that a limit holds back, at a gate whose clock is the machine's, and in a line with a clock of its own.</summary>
public sealed class LimitedRequestTests : IDisposable
{
    private readonly SimulatedLoop _loop = new(1);
    private readonly RequestLimits _limits = new();
    private readonly List<string> _log = [];
    private readonly RequestGate _gate;

    public LimitedRequestTests() => _gate = new RequestGate(_loop, limits: _limits);

    public void Dispose() => _loop.Dispose();

    [Fact]
    public void Without_limits_every_request_passes()
    {
        for (var i = 0; i < 1000; i++)
            Assert.True(_gate.PassesLimits(Read("any")));
        Assert.Equal(0, _gate.Limited);
    }

    [Fact]
    public void Each_kind_has_a_line_of_its_own_and_keeps_its_order()
    {
        _limits.Set(new LimitRates { Reads = 1000, BurstSeconds = 0.02 });
        var line = new LimitQueue(_loop, _limits, request => _log.Add($"{request} at {_loop.Now}"), () => _loop.Now * 1_000_000);
        var passed = Enumerable.Range(0, 30).Count(i => line.TryPass(Read($"read {i}")));
        Assert.Equal(21, passed);
        Assert.True(line.TryPass(Write("write")), "a limit of reads holds no write up");
        Assert.Equal(9, line.Count);

        _loop.RunUntilComplete(_loop.DelayAsync(50));

        Assert.Equal(Enumerable.Range(21, 9).Select(i => $"read {i} at {i - 20}"), _log);
        Assert.Equal(0, line.Count);
    }

    [Fact]
    public void A_line_keeps_the_rate_although_its_timer_has_whole_milliseconds()
    {
        const int rate = 7777, seconds = 20;
        _limits.Set(new LimitRates { Requests = rate });
        var passed = 0;
        LimitQueue line = null!;
        line = new LimitQueue(_loop, _limits, _ => Again(), () => _loop.Now * 1_000_000);
        for (var i = 0; i < 32; i++)
            Again();
        _loop.RunUntilComplete(_loop.DelayAsync(seconds * 1000));
        Assert.InRange(passed, rate * seconds, rate * seconds * 1.01);

        void Again()
        {
            // One request after the other, as long as the clock lets them.
            do
                passed++;
            while (line.TryPass(Read("again")));
        }
    }

    [Fact]
    public void What_a_limit_holds_back_is_not_in_progress_and_waits_while_the_gate_is_held()
    {
        Exhaust();
        Assert.False(_gate.PassesLimits(Read("late")));
        var drained = false;
        _gate.Hold(() => drained = true);
        Assert.Equal((true, 0, 1), (drained, _gate.Active, _gate.Limited));

        _limits.Set(default);
        _loop.RunUntilComplete(_loop.DelayAsync(100));
        Assert.Empty(_log);

        _gate.Release();
        Assert.Equal(["late restarted"], _log);
        Assert.Equal((1, 0), (_gate.Active, _gate.Limited));
    }

    [Fact]
    public void A_limit_that_is_taken_away_lets_those_go_that_it_held_back()
    {
        Exhaust();
        Assert.False(_gate.PassesLimits(Read("first")));
        Assert.False(_gate.PassesLimits(Write("second")));
        _limits.Set(default);
        Assert.False(_gate.PassesLimits(Read("third")), "nobody overtakes");
        _loop.RunUntilComplete(_loop.DelayAsync(20));
        Assert.Equal(["first restarted", "third restarted", "second restarted"], _log);
    }

    [Fact]
    public void Requests_that_waited_for_a_lifted_limit_are_done_before_the_gate_is_shut()
    {
        Exhaust();
        Assert.False(_gate.PassesLimits(Read("late")));
        _limits.Lift();
        var drained = false;
        _gate.Hold(() => drained = true);
        Assert.Equal((false, 1), (drained, _gate.Active));
        Assert.Equal(["late restarted"], _log);
        _gate.Ended();
        Assert.True(drained);
    }

    [Fact]
    public void What_a_limit_holds_back_can_be_refused_one_by_one_or_all()
    {
        Exhaust();
        foreach (var name in new[] { "first", "second", "third" })
            Assert.False(_gate.PassesLimits(name == "third" ? Write(name) : Read(name)));
        _gate.RefuseWaiting(request => ((Request)request).Name == "second");
        Assert.Equal(["second refused with -5"], _log);
        _gate.RefuseWaiting(-Errno.ESHUTDOWN);
        Assert.Equal(["first refused with -108", "third refused with -108"], _log[1..]);
        Assert.Equal(0, _gate.Limited);
    }

    [Fact]
    public void Flushes_are_never_held_back()
    {
        Exhaust();
        Assert.False(_gate.PassesLimits(Write("late")));
        Assert.True(_gate.PassesLimits(new Request(_log, "flush", IoKind.Other)));
    }

    /// <summary>From now on, every request has to wait for longer than any test takes.</summary>
    private void Exhaust()
    {
        _limits.Set(new LimitRates { Bytes = 4096 });
        Assert.True(_gate.PassesLimits(new Request(_log, "large", IoKind.Read, 1L << 40)));
    }

    private Request Read(string name) => new(_log, name, IoKind.Read);

    private Request Write(string name) => new(_log, name, IoKind.Write);

    private sealed class Request(List<string> log, string name, IoKind kind, long bytes = 512) : IGatedRequest
    {
        public string Name => name;

        public IoKind LimitedAs => kind;

        public long LimitedBytes => bytes;

        public RequestWaits Waits { get; private set; }

        public void NoteWait(RequestWaits reason) => Waits |= reason;

        public void Restart() => log.Add($"{name} restarted");

        public void Refuse(int error) => log.Add($"{name} refused with {error}");

        public override string ToString() => name;
    }
}
