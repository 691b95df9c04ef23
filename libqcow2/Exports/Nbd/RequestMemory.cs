using System.Threading;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>
/// Memory for requests that all connections of a server have in common, beside what each has of its own. A connection takes
/// what a request needs as a whole before the first byte of it, so that whoever has some can finish; the others wait in line.
/// Any thread.
/// </summary>
internal sealed class RequestMemory(long bytes)
{
    private readonly Lock _lock = new();
    private MemoryShare? _first;
    private MemoryShare? _last;
    private long _used;

    /// <summary>Bytes that connections have.</summary>
    public long Used => Volatile.Read(ref _used);

    /// <summary>Whether somebody waits.</summary>
    public bool IsWanted => Volatile.Read(ref _first) is not null;

    /// <summary>Takes bytes now, or puts the connection in line.</summary>
    /// <returns>whether it has them; if not, it is told when it does (<see cref="MemoryShare.Granted"/>)</returns>
    public bool TryTake(MemoryShare share, long wanted)
    {
        lock (_lock)
        {
            if (_first is null && Fits(wanted))
            {
                _used += wanted;
                return true;
            }

            share.Wait(wanted);
            if (_last is null)
                _first = share;
            else
                _last.Next = share;
            _last = share;
            return false;
        }
    }

    /// <summary>Gives bytes back; those that wait longest get them.</summary>
    public void Give(long given)
    {
        lock (_lock)
        {
            _used -= given;
            GrantFirst();
        }
    }

    /// <summary>Leaves the line.</summary>
    /// <returns>false if it was not in it any more: it is being told that it has the bytes</returns>
    public bool Withdraw(MemoryShare share)
    {
        lock (_lock)
        {
            MemoryShare? before = null;
            var at = _first;
            while (at is not null && at != share)
                (before, at) = (at, at.Next);
            if (at is null)
                return false;
            Unlink(before, share);
            GrantFirst();
            return true;
        }
    }

    private void GrantFirst()
    {
        while (_first is { } next && Fits(next.Wanted))
        {
            _used += next.Wanted;
            Unlink(null, next);
            next.Granted();
        }
    }

    private void Unlink(MemoryShare? before, MemoryShare share)
    {
        if (before is null)
            _first = share.Next;
        else
            before.Next = share.Next;
        if (_last == share)
            _last = before;
        share.Next = null;
    }

    /// <summary>What is wanted alone is always allowed, however large.</summary>
    private bool Fits(long wanted) => _used == 0 || _used + wanted <= bytes;
}
