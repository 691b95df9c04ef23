using System;
using System.Threading;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Exports;

/// <summary>
/// Calls of the kernel that may never return, as they wait for a device: each in a thread of its own, given up after a time.
/// The thread of a call that was given up ends with the call.
/// </summary>
internal static class TimedCall
{
    /// <param name="name">of the thread, at most 15 letters</param>
    /// <param name="call">returns 0 or more, or a negative errno</param>
    /// <param name="timeout">how long to wait for it</param>
    /// <param name="late">gets the result, in that thread, if the call returns after all when nobody waits any more</param>
    /// <returns>what the call returned, or -ETIMEDOUT</returns>
    internal static int Run(string name, Func<int> call, TimeSpan timeout, Action<int>? late = null)
    {
        const int running = 0, ended = 1, givenUp = 2;
        var state = running;
        var result = 0;
        var done = new ManualResetEventSlim();
        var thread = new Thread(() =>
        {
            Threads.SetName(name);
            result = call();
            if (Interlocked.CompareExchange(ref state, ended, running) == givenUp)
                late?.Invoke(result);
            else
                done.Set();
        })
        { IsBackground = true };
        thread.Start();
        return done.Wait(timeout) || Interlocked.CompareExchange(ref state, givenUp, running) == ended
            ? result
            : -Errno.ETIMEDOUT;
    }
}
