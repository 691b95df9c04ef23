using System;
using Qcow2Blk.Image;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Exports.Ublk;

/// <summary>What each operation means for the disk. Runs on the home loop.</summary>
internal sealed partial class UblkTag
{
    private void StartAtHome()
    {
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
    public long WorkBytes => IsRead || IsWrite ? _queue.Served.WorkBytesOf(Length) : _queue.Served.WorkBytesOf(0);

    public void BeginWork() => ExecuteAsync(_queue.Served.Disk).CompleteInto(this);

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

    private async LoopTask<int> ExecuteAsync(IDisk disk)
    {
        try
        {
            return await ExecuteOperationAsync(disk);
        }
        catch (Exception error) when (error is not OutOfMemoryException)
        {
            // A bug of ours must cost this request, not the device.
            _queue.Report($"request failed: {error.GetType().Name}: {error.Message}");
            return -Errno.EIO;
        }
    }

    private LoopTask<int> ExecuteOperationAsync(IDisk disk)
    {
        var flushes = ForceUnitAccess || Operation == Interop.Ublk.UBLK_IO_OP_FLUSH;
        if (flushes && _queue.Served.BlockDevice.TakeLoss() is var lost and < 0)
            return new LoopTask<int>(lost);
        return Operation switch
        {
            Interop.Ublk.UBLK_IO_OP_READ => disk.ReadAsync(Offset, _buffer),
            Interop.Ublk.UBLK_IO_OP_WRITE => disk.WriteAsync(Offset, _buffer, ForceUnitAccess),
            Interop.Ublk.UBLK_IO_OP_FLUSH => disk.FlushAsync(),
            Interop.Ublk.UBLK_IO_OP_DISCARD => _long.DiscardAsync(disk, Offset, Length, ForceUnitAccess),
            Interop.Ublk.UBLK_IO_OP_WRITE_ZEROES => _long.WriteZeroesAsync(disk, Offset, Length, ZeroFlagsOf()),
            _ => new LoopTask<int>(-Errno.EOPNOTSUPP),
        };
    }

    private ZeroFlags ZeroFlagsOf()
    {
        var flags = (_flags & Interop.Ublk.UBLK_IO_F_NOUNMAP) != 0 ? ZeroFlags.None : ZeroFlags.MayUnmap;
        return ForceUnitAccess ? flags | ZeroFlags.ForceUnitAccess : flags;
    }
}
