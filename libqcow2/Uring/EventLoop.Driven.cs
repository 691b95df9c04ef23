using System;
using System.IO;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Uring;

/// <summary>
/// A loop without a thread: it lives in the loop of the program that made it. It runs inside <see cref="RunReady"/> and
/// <see cref="RunUntil"/> only, and everything on the one thread that made it, as the kernel's ring belongs to that.
/// </summary>
internal sealed partial class EventLoop
{
    // What completes at once may bring more of it: others of the program have to come to their turn.
    private const int RoundsPerRun = 16;

    private readonly int _owner = Environment.CurrentManagedThreadId;
    private LoopWatch? _watch;

    /// <summary>Whether it has no thread of its own.</summary>
    public bool IsDriven => _thread is null;

    /// <summary>Readable when <see cref="RunReady"/> has something to do. Of a loop without a thread.</summary>
    public int WatchDescriptor => _watch!.Descriptor;

    /// <summary>Makes a loop of the calling thread; what it computes it computes there.</summary>
    /// <param name="failed">told of an exception that nobody awaits</param>
    /// <exception cref="System.IO.IOException">the kernel refuses a ring, and there are no descriptors for another</exception>
    public static EventLoop StartHere(Action<Exception> failed)
    {
        var loop = new EventLoop(offload: null) { Failed = failed };
        try
        {
            loop.Prepare(Ring.CreateInline);
            if (loop._ring!.RegisterEventFd(loop._eventFd) is var error and < 0)
                throw new IOException($"cannot watch a ring: {Errno.Text(error)}", -error);
            loop._watch = new LoopWatch(loop._eventFd);
            return loop;
        }
        catch
        {
            loop.End();
            throw;
        }
    }

    /// <summary>Runs <paramref name="work"/> as the loop, now. On the thread of the loop.</summary>
    public void Run(Action work)
    {
        ArgumentNullException.ThrowIfNull(work);
        RequireOwner();
        var outside = Enter(this);
        try
        {
            work();
        }
        finally
        {
            Enter(outside);
        }
    }

    /// <summary>Does what there is to do, without waiting.</summary>
    public unsafe void RunReady()
    {
        RequireOwner();
        var outside = Enter(this);
        try
        {
            ulong count;
            Files.ReadStream(_eventFd, &count, sizeof(ulong));
            var rounds = 0;

            do
                TurnGuarded(mayWait: false);
            while (HasMore && ++rounds < RoundsPerRun);
            Rest(isDone: rounds < RoundsPerRun);
        }
        finally
        {
            Enter(outside);
        }
    }

    /// <summary>Does what there is to do, and waits for more, until something is so.</summary>
    public void RunUntil(Func<bool> isSo)
    {
        ArgumentNullException.ThrowIfNull(isSo);
        RequireOwner();
        var outside = Enter(this);
        try
        {
            while (!isSo())
                TurnGuarded(mayWait: true);
            Rest(isDone: !HasMore);
        }
        finally
        {
            Enter(outside);
        }
    }

    /// <summary>Whether a turn that ends now would do something: also what a timer of the last one has begun.</summary>
    private bool HasMore => _postedCount > 0 || _ring!.HasCompletions || _ring.Unsubmitted > 0 || !_foreign.IsEmpty;

    /// <summary>The kernel's ring belongs to one thread, and what is in its queues would be lost on another.</summary>
    private void RequireOwner() => Invariant.Holds(
        Environment.CurrentManagedThreadId == _owner, "a loop without a thread runs on the thread that made it", _owner);

    /// <summary>Until the next run: the descriptor becomes readable when a timer is due, and now if there is more to do.</summary>
    private void Rest(bool isDone)
    {
        _watch!.Arm(NextTimeout());
        if (!PrepareToSleep() || !isDone)
            SignalEvent();
    }
}
