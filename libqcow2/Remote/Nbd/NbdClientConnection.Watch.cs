using System;
using System.Globalization;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Remote.Nbd;

/// <summary>How long the server may keep others waiting.</summary>
internal sealed partial class NbdClientConnection
{
    private bool _isWatched;
    private long _windowBegan;
    private long _windowBytes;
    private long _lastByte;

    private void CountBytes(int bytes)
    {
        _windowBytes += bytes;
        _lastByte = Environment.TickCount64;
    }

    private async LoopTask<int> WatchOpeningAsync(int greetingTime)
    {
        var began = Environment.TickCount64;
        while (_opening is not null && _failure is null)
        {
            await _loop.DelayAsync(_times.Look);
            var waited = Environment.TickCount64 - began;
            if (_opening is null)
                return 0;
            if (!IsGreeted && waited >= greetingTime)
                Fail(Lost($"no server answers within {Seconds(greetingTime)} s"));
            else if (waited >= _times.Handshake)
                Fail(Lost($"the server does not open the export within {Seconds(_times.Handshake)} s"));
        }

        return 0;
    }

    /// <summary>Looks at the clock for as long as something is under way.</summary>
    private void Watch()
    {
        if (_isWatched)
            return;
        _isWatched = true;
        (_windowBegan, _windowBytes) = (Environment.TickCount64, 0);
        WatchReadsAsync().Forget();
    }

    /// <remarks>
    /// In each window, a read that waits all the time shows that the server has something to send. Less than the slowest rate is as
    /// bad as nothing: otherwise a byte now and then would hold a request for hours.
    /// </remarks>
    private async LoopTask<int> WatchReadsAsync()
    {
        while (_failure is null && UnderWay > 0)
        {
            await _loop.DelayAsync(_times.Look);
            if (_failure is null && _replies!.Oldest is { } oldest)
                Look(Environment.TickCount64, oldest);
        }

        _isWatched = false;
        return 0;
    }

    private void Look(long now, long oldest)
    {
        if (now - Math.Max(oldest, _lastByte) >= _times.Progress)
        {
            Fail(Lost($"the server has sent nothing for {Seconds(_times.Progress)} s"));
            return;
        }

        if (now - _windowBegan < _times.Progress)
            return;
        if (oldest <= _windowBegan && _windowBytes < SourceTimeouts.SlowestRate * (long)_times.Progress / 1000)
            Fail(Lost($"the server has sent only {_windowBytes} bytes in {Seconds(_times.Progress)} s"));
        (_windowBegan, _windowBytes) = (now, 0);
    }

    private static string Seconds(int milliseconds) => (milliseconds / 1000.0).ToString("0.#", CultureInfo.InvariantCulture);
}
