using System;
using System.Diagnostics;
using System.Threading;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Waits for something that another process does.</summary>
internal static class Deadline
{
    public static void Until(Func<bool> reached, string what, int seconds = 30)
    {
        var started = Stopwatch.GetTimestamp();
        while (!reached())
        {
            if (Stopwatch.GetElapsedTime(started).TotalSeconds > seconds)
                throw new TimeoutException($"not reached within {seconds} s: {what}");
            Thread.Sleep(10);
        }
    }
}
