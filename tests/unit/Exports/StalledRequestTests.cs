using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Exports;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Exports;

/// <summary>What a gate tells of requests that wait for space: one that is tried again in vain has not stopped waiting.</summary>
public sealed class StalledRequestTests : IDisposable
{
    private readonly SimulatedLoop _loop = new(1);
    private readonly List<int> _told = [];
    private readonly RequestGate _gate;
    private bool _isFull = true;

    public StalledRequestTests() => _gate = new RequestGate(_loop, _told.Add);

    public void Dispose() => _loop.Dispose();

    private void Begin()
    {
        _gate.Began();
        _gate.Park(new Request(this));
    }

    private void Wait(int milliseconds) => _loop.RunUntilComplete(_loop.DelayAsync(milliseconds));

    [Fact]
    public void Request_that_finds_no_space_again_and_again_is_told_once_and_its_end_once()
    {
        Begin();
        Wait(5500);
        Assert.Equal([1], _told);

        _isFull = false;
        Wait(5500);

        Assert.Equal([1, -1], _told);
        Assert.Equal(0, _gate.Active);
    }

    [Fact]
    public void More_of_them_are_told_and_fewer()
    {
        Begin();
        Begin();
        Wait(1500);
        Begin();
        Assert.Equal([1, 1, 1], _told);
        _isFull = false;
        Wait(3500);
        Assert.Equal(0, _told.Sum());
    }

    [Fact]
    public void Suspended_device_has_them_still_and_what_a_resume_brings_is_told()
    {
        Begin();
        _gate.Hold(() => { });
        Wait(5500);
        Assert.Equal([1], _told);

        _isFull = false;
        _gate.Release();
        Wait(1500);

        Assert.Equal([1, -1], _told);
    }

    [Fact]
    public void Requests_that_are_refused_do_not_wait_any_more()
    {
        Begin();
        Begin();
        _gate.RefuseParked(_ => true);
        Assert.Equal(0, _told.Sum());
        Begin();
        _gate.RefuseParked();
        Assert.Equal(0, _told.Sum());
    }

    private sealed class Request(StalledRequestTests test) : IGatedRequest
    {
        public IoKind LimitedAs => IoKind.Other;

        public long LimitedBytes => 0;

        public void NoteWait(RequestWaits reason)
        {
            // Nobody traces it.
        }

        public void Restart()
        {
            if (test._isFull)
                test._gate.Park(this);
            else
                test._gate.Ended();
        }

        public void Refuse(int error) => test._gate.Ended();
    }
}
