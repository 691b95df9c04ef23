using System;
using System.Runtime.CompilerServices;
using System.Threading;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image;

/// <summary>
/// Knows when every request that began before a moment has ended, on all loops: only then may a cluster that was
/// freed at that moment be used for something else.
/// </summary>
/// <remarks>
/// Two counters per loop, one for each parity of the epoch. A loop raises its counter, then looks at the epoch
/// again; the home loop advances the epoch, then looks at the counters: with a full fence on both sides at least
/// one of the two sees the other.
/// </remarks>
internal sealed class RequestEpochs
{
    /// <summary>Loops that can serve one image.</summary>
    public const int MaximumLoops = 64;

    // 16 longs, 128 bytes, a loop: two loops never write the same cache line (or its prefetched neighbour).
    private const int Stride = 16;

    // Threads that are no loops share counters, a few so that they seldom meet: whoever is at one raises it atomically.
    private const int SharedCounters = 16;
    private const int AllCounters = MaximumLoops + SharedCounters;

    private readonly long[] _counters = new long[(AllCounters + 1) * Stride];
    private readonly AsyncLock _advancing = new();
    private int _epoch;
    private int _quietBefore;

    /// <summary>
    /// Told of a breach, on the loop that meets it: neither what has entered nor what waits can go another way then. Without it,
    /// the caller gets the exception.
    /// </summary>
    internal Action<InvariantBreach>? Broken { get; set; }

    /// <summary>The number of the epoch at this moment. Home loop.</summary>
    internal int Number => _epoch;

    /// <summary>Every request that began in an epoch before this one has ended. Home loop.</summary>
    internal int QuietBefore => _quietBefore;

    /// <summary>Begins a request on loop <paramref name="loop"/>; hand the result to <see cref="Exit"/>.</summary>
    public int Enter(int loop)
    {
        while (true)
        {
            var parity = Parity;
            if (TryEnter(loop, parity))
                return parity;
        }
    }

    /// <summary>The parity of the epoch at this moment.</summary>
    internal int Parity => Volatile.Read(ref _epoch) & 1;

    /// <summary>
    /// Begins a request under a parity that was seen before; false if the epoch was advanced since: it would not be waited for.
    /// </summary>
    internal bool TryEnter(int loop, int parity)
    {
        ref var counter = ref Counter(loop, parity);
        Volatile.Write(ref counter, counter + 1);
        if (loop == 0)
            return true; // The home loop is the one that advances: it cannot race with itself.
        Interlocked.MemoryBarrier();
        if (Parity == parity)
            return true;
        Volatile.Write(ref counter, counter - 1);
        return false;
    }

    public void Exit(int loop, int parity)
    {
        ref var counter = ref Counter(loop, parity);
        if (counter <= 0)
            NeverEntered(loop, parity);
        else
            Volatile.Write(ref counter, counter - 1);
    }

    /// <summary>
    /// Begins a request on a thread that is not a loop's; hand the result to <see cref="ExitShared"/>, on any thread. Any thread.
    /// </summary>
    public int EnterShared()
    {
        var shared = MaximumLoops + (Environment.CurrentManagedThreadId & (SharedCounters - 1));
        while (true)
        {
            var parity = Parity;
            Interlocked.Increment(ref Counter(shared, parity));
            if (Parity == parity)
                return (shared << 1) | parity;
            Interlocked.Decrement(ref Counter(shared, parity));
        }
    }

    /// <param name="entered">what <see cref="EnterShared"/> returned</param>
    public void ExitShared(int entered)
    {
        if (Interlocked.Decrement(ref Counter(entered >> 1, entered & 1)) < 0)
            NeverEntered(entered >> 1, entered & 1);
    }

    /// <summary>Completes when every request that is in progress now has ended. Home loop; not from inside a request.</summary>
    public async LoopTask<int> WaitForQuietAsync()
    {
        // One at a time: an epoch may only be advanced when the one before is quiet.
        await _advancing.EnterAsync();
        await WaitForPreviousAsync();
        Volatile.Write(ref _epoch, _epoch + 1);
        Interlocked.MemoryBarrier();
        await WaitForPreviousAsync();
        var open = Volatile.Read(ref Counter(0, (_epoch - 1) & 1));
        if (open == 0)
            _quietBefore = _epoch;
        _advancing.Exit();

        // Only of the home loop: the counter of another goes up for a moment when it enters an epoch that is just over.
        if (open != 0)
            Break($"an epoch is over only when every request in it has ended (open = {open}, epoch = {_epoch})");
        return 0;
    }

    /// <summary>Requests in progress on all loops.</summary>
    public long InProgress
    {
        get
        {
            long sum = 0;
            for (var loop = 0; loop < AllCounters; loop++)
                sum += Volatile.Read(ref Counter(loop, 0)) + Volatile.Read(ref Counter(loop, 1));
            return sum;
        }
    }

    // Apart, so that the loops of exports pay only for the comparison.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private void NeverEntered(int loop, int parity) =>
        Break($"an epoch that is left is one that was entered (loop = {loop}, parity = {parity})");

    private void Break(string rule)
    {
        var breach = new InvariantBreach(rule);
        if (Broken is null)
            throw breach;
        Broken(breach);
    }

    private bool PreviousIsQuiet()
    {
        var parity = (_epoch - 1) & 1;
        for (var loop = 0; loop < AllCounters; loop++)
        {
            if (Volatile.Read(ref Counter(loop, parity)) != 0)
                return false;
        }

        return true;
    }

    private async LoopTask<int> WaitForPreviousAsync()
    {
        // Other loops do not tell when they are done, so this looks again: a request rarely takes longer.
        while (!PreviousIsQuiet())
            await LoopScheduler.Current.DelayAsync(1);
        return 0;
    }

    private ref long Counter(int loop, int parity) => ref _counters[(loop * Stride) + Stride + parity];
}
