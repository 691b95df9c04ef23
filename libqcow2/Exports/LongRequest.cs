using System;
using System.Diagnostics;
using Qcow2Blk.Image;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Exports;

/// <summary>
/// A discard or write of zeroes of any length, done in pieces of <see cref="ServedDisk.PieceBytes"/>. Between two of them
/// others are served, and a gate that was shut stops it: it goes on from there when it is restarted. Belongs to one request
/// at a time, and runs on the home loop.
/// </summary>
internal sealed class LongRequest(ServedDisk served, RequestGate gate)
{
    /// <summary>The result of a request that stopped because the gate is held: not an errno, its request is not done.</summary>
    public const int Interrupted = int.MinValue;

    // Pieces that find nothing to do take less than a microsecond, and a turn of the loop more.
    private const long TurnMilliseconds = 1;

    // Of 2^63 bytes.
    private const int LargestGrowth = 32;

    private long _done;
    private long _turnBegan;
    private long _pieceBegan;
    private int _growth;

    /// <summary>Another request from its beginning.</summary>
    public void Reset() => (_done, _growth) = (0, 0);

    /// <returns>0, a negative errno, or <see cref="Interrupted"/></returns>
    public async LoopTask<int> DiscardAsync(IDisk disk, long offset, long length, bool forceUnitAccess)
    {
        while (true)
        {
            var piece = NextPiece(offset, length);
            var error = await disk.DiscardAsync(offset + _done, piece);
            _done += error == 0 ? piece : 0;
            if (error < 0 || _done == length)
                return error == 0 && forceUnitAccess ? await disk.FlushAsync() : error;
            if (await PauseAsync())
                return Interrupted;
        }
    }

    /// <returns>0, a negative errno, or <see cref="Interrupted"/></returns>
    public async LoopTask<int> WriteZeroesAsync(IDisk disk, long offset, long length, ZeroFlags flags)
    {
        if (_done == 0 && NextPiece(offset, length) == length)
            return await disk.WriteZeroesAsync(offset, length, flags);
        var ofPiece = flags & ~ZeroFlags.ForceUnitAccess;

        // A fast request that cannot be met must not have changed anything: what may refuse it are its edges.
        if (_done == 0 && (flags & ZeroFlags.Fast) != 0 && await ZeroEdgesAsync(disk, offset, length, ofPiece) is var refused and < 0)
            return refused;
        while (true)
        {
            var piece = NextPiece(offset, length);
            var error = await disk.WriteZeroesAsync(offset + _done, piece, ofPiece);
            _done += error == 0 ? piece : 0;
            if (error < 0 || _done == length)
                return error == 0 && (flags & ZeroFlags.ForceUnitAccess) != 0 ? await disk.FlushAsync() : error;
            if (await PauseAsync())
                return Interrupted;
        }
    }

    /// <summary>
    /// Zeroes what lies before the first and behind the last whole cluster; fast, so that only what is zero already passes.
    /// </summary>
    private async LoopTask<int> ZeroEdgesAsync(IDisk disk, long offset, long length, ZeroFlags flags)
    {
        var mask = served.ClusterBytes - 1;
        var head = Math.Min(length, -offset & mask);
        var tail = (offset + length) & mask;
        var error = head == 0 ? 0 : await disk.WriteZeroesAsync(offset, head, flags);
        return error < 0 || tail == 0 ? error : await disk.WriteZeroesAsync(offset + length - tail, tail, flags);
    }

    /// <summary>Up to the next multiple of a piece on the disk, so that no cluster is split.</summary>
    private long NextPiece(long offset, long length)
    {
        _pieceBegan = Stopwatch.GetTimestamp();
        var piece = served.PieceBytes << _growth;
        return Math.Min(length - _done, piece - ((offset + _done) & (piece - 1)));
    }

    /// <summary>Lets others have their turn, if they have not had one for a while.</summary>
    /// <returns>whether the gate is shut now</returns>
    private async LoopTask<bool> PauseAsync()
    {
        Grow();
        if (!gate.Held && IsLongSince(_turnBegan))
        {
            await LoopScheduler.Current.DelayAsync(0);
            _turnBegan = Stopwatch.GetTimestamp();
        }

        return gate.Held;
    }

    /// <summary>
    /// A file system does a range that holds nothing in one call, however long: the next piece is twice as long. But where it
    /// takes time, as there is much to free or zeroes are written, pieces are short again.
    /// </summary>
    private void Grow()
    {
        if (served.PiecesGrow)
            _growth = IsLongSince(_pieceBegan) ? 0 : Math.Min(_growth + 1, LargestGrowth);
    }

    private static bool IsLongSince(long timestamp) => Stopwatch.GetElapsedTime(timestamp).TotalMilliseconds >= TurnMilliseconds;
}
