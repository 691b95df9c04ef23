using System.Collections.Generic;
using System.Linq;
using System.Threading;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Bitmaps;

/// <summary>Recording what is about to be written.</summary>
internal sealed partial class BitmapSet
{
    private HashSet<(RecordingBitmap Bitmap, long Region)> _wanted = [];
    private ManualSource<int>? _waiters;
    private bool _running;

    /// <summary>Records a range, if that needs nothing on disk. Any thread.</summary>
    /// <returns>false if <see cref="TouchAsync"/> has to</returns>
    public bool TryTouch(long offset, long length)
    {
        var recording = Volatile.Read(ref _recording);
        if (recording is null)
            return true;
        foreach (var bitmap in recording)
        {
            if (!bitmap.TryTouch(offset, length))
                return false;
        }

        return true;
    }

    /// <summary>Records a range. When this returns 0 its bits are set, and survive a power cut. Then it may be written.</summary>
    public LoopTask<int> TouchAsync(long offset, long length) =>
        TryTouch(offset, length) ? new LoopTask<int>(0) : OpenAndTouchAsync(offset, length);

    private async LoopTask<int> OpenAndTouchAsync(long offset, long length)
    {
        foreach (var bitmap in _kept)
        {
            for (var region = bitmap.NextShut(offset, length, 0); region >= 0; region = bitmap.NextShut(offset, length, region + 1))
                _wanted.Add((bitmap, region));
        }

        var error = await OpenWantedAsync();
        if (error < 0)
            return error;
        Invariant.Holds(TryTouch(offset, length), "a range is written only when its bits are set", offset, length);
        return 0;
    }

    /// <summary>Requests that come while others are being done share the next sync.</summary>
    private LoopTask<int> OpenWantedAsync()
    {
        var waiter = ManualSource<int>.Rent();
        waiter.Next = _waiters;
        _waiters = waiter;
        if (!_running)
        {
            _running = true;
            RunAsync().Forget();
        }

        return waiter.Task;
    }

    private async LoopTask<int> RunAsync()
    {
        while (_waiters is not null)
        {
            var (waiters, wanted) = (_waiters, _wanted);
            (_waiters, _wanted) = (null, []);
            int error;
            try
            {
                error = await OpenAllAsync(wanted);
            }
            catch (InvariantBreach breach)
            {
                error = _space.Stop(breach);
            }

            while (waiters is not null)
            {
                var waiter = waiters;
                waiters = waiter.Next;
                waiter.Next = null;
                waiter.SetResult(error);
            }
        }

        _running = false;
        return 0;
    }

    private async LoopTask<int> OpenAllAsync(HashSet<(RecordingBitmap Bitmap, long Region)> wanted)
    {
        var made = new List<(StoredBitmap Stored, int Index, long Offset)>();
        var error = 0;
        foreach (var group in wanted.GroupBy(want => want.Bitmap))
        {
            long[] regions = [.. group.Select(want => want.Region).Order()];
            error = await WidenAsync(group.Key, regions, region => wanted.Contains((group.Key, region)), made);
            if (error < 0)
                break;
        }

        if (made.Count > 0)
            error = await PublishAsync(made, error);
        if (error == 0)
            error = await _space.SyncAsync();
        if (error < 0)
            return error;
        foreach (var (bitmap, region) in wanted)
            bitmap.Open(region);
        return 0;
    }

    /// <summary>Writes all ones for regions. What has no cluster yet gets one, which nothing points to before it is published.</summary>
    private async LoopTask<int> WidenAsync(
        RecordingBitmap bitmap, long[] regions, System.Predicate<long> alsoOpen, List<(StoredBitmap Stored, int Index, long Offset)> made)
    {
        var (bits, next, error) = (_space.ClusterBits, 0, 0);
        while (next < regions.Length && error == 0)
        {
            var index = (int)(bitmap.BytesOf(regions[next]).Start >> bits);
            var (begin, count) = (next, 0);
            while (next < regions.Length && bitmap.BytesOf(regions[next]).Start >> bits == index)
                (next, count) = (next + 1, count + 1);
            var raw = bitmap.Stored[index];
            Invariant.Holds(raw != BitmapTableEntry.AllOnes, "what is all ones needs no bit set", index);
            if (BitmapTableEntry.OffsetOf(raw) is not 0 and var host)
            {
                for (var i = begin; i < begin + count && error == 0; i++)
                {
                    var (start, length) = bitmap.BytesOf(regions[i]);
                    error = await WriteWideAsync(bitmap, host, start, start + length, alsoOpen);
                }

                continue;
            }

            host = await _space.AllocateAsync(1);
            if (host < 0)
                return (int)host;
            made.Add((bitmap.Stored, index, host));
            error = await WriteWideAsync(bitmap, host, (long)index << bits, ((long)index + 1) << bits, alsoOpen);
        }

        return error;
    }

    private async LoopTask<int> WriteWideAsync(
        RecordingBitmap bitmap, long host, long start, long end, System.Predicate<long> alsoOpen)
    {
        var pool = LoopScheduler.Current.Buffers;
        var (mask, error) = ((1L << _space.ClusterBits) - 1, 0);
        start = Rounding.Down(start, _space.WriteUnit);
        end = Rounding.Up(end, _space.WriteUnit);
        var piece = pool.Rent((int)System.Math.Min(end - start, PieceBytes));
        for (; start < end && error == 0; start += piece.Length)
        {
            var part = piece.Slice(0, (int)System.Math.Min(piece.Length, end - start));
            bitmap.CopyWide(start, part.Span, alsoOpen);
            error = await _space.File.WriteAsync(host + (start & mask), part);
        }

        pool.Return(piece);
        return error;
    }

    /// <summary>Lets tables point to new clusters of data, when those are counted on disk.</summary>
    /// <param name="made">the clusters</param>
    /// <param name="error">what has failed before: then they are given back</param>
    private async LoopTask<int> PublishAsync(List<(StoredBitmap Stored, int Index, long Offset)> made, int error)
    {
        if (error == 0)
            error = await _space.CommitAsync();
        if (error < 0)
        {
            foreach (var (_, _, offset) in made)
                _space.Free(offset, 1);
            return error;
        }

        foreach (var (stored, index, offset) in made)
        {
            stored[index] = (ulong)offset;
            Invariant.Holds(_space.TryProtect(offset, 1), "a new cluster is not metadata yet", offset);
            error = await stored.WriteTableAsync(_space.File, index, index + 1, _space.WriteUnit);

            // It may be there or not: the cluster is leaked, and another is tried the next time.
            if (error < 0)
                break;
        }

        if (error == 0)
            return 0;
        foreach (var (stored, index, _) in made)
            stored[index] = BitmapTableEntry.AllZeroes;
        return error;
    }
}
