using System;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Exports.Ublk;

/// <summary>What each operation means for the disk. Runs on the home loop.</summary>
internal sealed partial class UblkTag
{
    private void StartAtHome()
    {
        _way = RequestWay.Home;
        if (_queue.Loop == _queue.Served.Home)
            ExecuteAtHome();
        else
            _queue.Served.Home.PostFromAnyThread(_executeAtHome);
    }

    private void ExecuteAtHome()
    {
        if (_queue.Served.Budget is { } budget)
            budget.Begin(this);
        else
            BeginWork();
    }

    /// <summary>What the request may need of the home loop's memory, but for its buffer.</summary>
    public long WorkBytes =>
        _request.IsRead || _request.IsWrite ? _queue.Served.WorkBytesOf(_request.Length) : _queue.Served.WorkBytesOf(0);

    public void BeginWork() => ExecuteAsync().CompleteInto(this);

    /// <summary>The home loop is done with the request (and this runs there).</summary>
    void ICompletionSink<int>.Completed(int result)
    {
        _queue.Served.Budget?.End(WorkBytes);
        _result = result;
        if (_queue.Loop == _queue.Served.Home)
            Ended(result);
        else
            _queue.Loop.PostFromAnyThread(_completeOnLoop);
    }

    private async LoopTask<int> ExecuteAsync()
    {
        try
        {
            return await _request.ExecuteAsync(_queue.Served, _buffer, _long);
        }
        catch (Exception error) when (error is not OutOfMemoryException)
        {
            // A bug of ours must cost this request, not the device.
            _queue.Report($"request failed: {error.GetType().Name}: {error.Message}");
            return -Errno.EIO;
        }
    }
}
