using System;
using System.Runtime.CompilerServices;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Space;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Change;

/// <summary>Every change of the disk that a request asks for begins and ends here.</summary>
internal sealed class GuestChanges
{
    private readonly ChangeParts _parts;
    private readonly FreeQueue _frees;
    private readonly ImageContext _context;
    private readonly DataWrites _data;
    private readonly ZeroWrites _zeroes;
    private readonly RequestCount _changes = new();

    /// <param name="parts">what changes need</param>
    /// <param name="frees">space that a commit makes available</param>
    public GuestChanges(ChangeParts parts, FreeQueue frees)
    {
        _parts = parts;
        _frees = frees;
        _context = parts.Context;
        _data = new DataWrites(parts, new NewClusters(parts, new ClusterFill(parts)));
        _zeroes = new ZeroWrites(parts, _data);
    }

    /// <summary>Whether nobody changes anything.</summary>
    public bool AreOver => _changes.IsZero && _parts.Locks.IsEmpty;

    /// <summary>Finds one piece of a file that holds the whole range and may be written in place. Any loop.</summary>
    public bool TryMapWrite(GuestOffset offset, int length, out FileExtent extent)
    {
        extent = default;
        if (!_parts.Preparation.IsOpen || _parts.Turns.IsExclusive || _parts.Options.DetectZeroes != DetectZeroes.Off
            || _context.WriteError != 0)
        {
            return false;
        }

        if (((offset.Value | (uint)length) & (_parts.Data.Alignment - 1)) != 0
            || !_parts.Map.TryMapRun(offset, length, inPlace: true, out var host))
        {
            return false;
        }

        // Past the end of the file (a truncated image) a write makes the file longer, which only the home loop does.
        if (host.Value + length > _context.Data.Length)
            return false;
        if ((host.Value < _context.Geometry.ClusterSize && !_context.Geometry.HasDataFile)
            || (Invariant.Thorough && _context.Epochs.InProgress == 0))
        {
            return RefuseMapping(offset, host);
        }

        // Only now: who has seen such an entry sees this, too.
        if (_parts.IsShowing || !_parts.Preparation.TryTouch(offset.Value, length))
            return false;
        _context.Log?.NoteAlive();
        extent = new FileExtent(_context.Data, host.Value);
        return true;
    }

    public async LoopTask<int> WriteAsync(GuestOffset offset, NativeBuffer buffer)
    {
        int error;
        _changes.Begin();
        try
        {
            error = await PrepareAsync(offset, buffer.Length);
            if (error == 0)
            {
                error = await _data.WriteAsync(offset, buffer);
                if (error == -Errno.ENOSPC && await ReclaimAsync())
                    error = await _data.WriteAsync(offset, buffer);
            }

            _parts.Committer.WriteBehind();
        }
        catch (InvariantBreach breach)
        {
            error = _context.Stop(breach);
        }

        _changes.End();
        return error;
    }

    public async LoopTask<int> WriteZeroesAsync(GuestOffset offset, long length, ZeroFlags flags)
    {
        int error;
        _changes.Begin();
        try
        {
            error = await PrepareAsync(offset, length);
            if (error == 0)
            {
                error = await _zeroes.ZeroAsync(offset, length, flags);
                if (error == -Errno.ENOSPC && await ReclaimAsync())
                    error = await _zeroes.ZeroAsync(offset, length, flags);
            }

            _parts.Committer.WriteBehind();
        }
        catch (InvariantBreach breach)
        {
            error = _context.Stop(breach);
        }

        _changes.End();
        return error;
    }

    /// <summary>Frees what lies wholly inside the range, if the options and the image's version allow it.</summary>
    public async LoopTask<int> DiscardAsync(GuestOffset offset, long length)
    {
        // Version 2 over a backing file has no way to drop a cluster without showing what is below it.
        if (_parts.Options.Discard == DiscardMode.Ignore || !_zeroes.CanZeroByEntry || length == 0)
            return 0;
        int error;
        _changes.Begin();
        try
        {
            error = await PrepareAsync(offset, length);
            if (error == 0)
            {
                error = await _zeroes.DiscardAsync(offset, length);
                if (error == -Errno.ENOSPC && await ReclaimAsync())
                    error = await _zeroes.DiscardAsync(offset, length);
            }

            _parts.Committer.WriteBehind();
        }
        catch (InvariantBreach breach)
        {
            error = _context.Stop(breach);
        }

        _changes.End();
        return error;
    }

    /// <summary>
    /// Makes a range behind the former end of the disk read as zeroes. Nobody uses the disk, and no bitmap records it: there was no disk.
    /// </summary>
    public async LoopTask<int> ClearNewEndAsync(GuestOffset offset, long length)
    {
        var error = await _zeroes.ClearNewEndAsync(offset, length);
        return error == -Errno.ENOSPC && await ReclaimAsync() ? await _zeroes.ClearNewEndAsync(offset, length) : error;
    }

    /// <summary>Completes when no change is in progress. None may begin any more.</summary>
    public LoopTask<int> WaitForEndAsync() => _changes.WaitForEndAsync();

    /// <summary>A breach on the loop of an export, which serves others too: the home loop will answer this request.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private bool RefuseMapping(GuestOffset offset, HostOffset host)
    {
        _context.Stop(new InvariantBreach(
            "what loops write in place is mapped inside an epoch, and is not the header"
            + $" (offset = {offset}, host = {host}, requests = {_context.Epochs.InProgress})"));
        return false;
    }

    /// <summary>What was freed but not committed is no space yet: where there is none, that is made so, and tried once more.</summary>
    private async LoopTask<int> PrepareAsync(GuestOffset offset, long length)
    {
        var error = await _parts.Preparation.RunAsync(offset.Value, length);
        return error == -Errno.ENOSPC && await ReclaimAsync() ? await _parts.Preparation.RunAsync(offset.Value, length) : error;
    }

    /// <summary>Makes all that was freed available. Not from inside a request's epoch.</summary>
    /// <returns>whether there was anything</returns>
    private async LoopTask<bool> ReclaimAsync()
    {
        if (_frees.IsEmpty || await _parts.Committer.FlushAsync() < 0)
            return false;
        await _frees.DrainAsync();
        return true;
    }
}
