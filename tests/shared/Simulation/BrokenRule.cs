using System;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Tests.Shared.Simulation;

/// <summary>Takes what an image reports, where a test may expect any trouble but a broken rule of the engine.</summary>
internal static class BrokenRule
{
    /// <summary>The run on the current loop fails by a rule that is reported broken, whatever else comes of it.</summary>
    public static void Refuse(string report)
    {
        ArgumentNullException.ThrowIfNull(report);
        if (report.Contains("broke a rule of its own", StringComparison.Ordinal))
            LoopScheduler.Current.Unobserved(new InvalidOperationException(report));
    }
}
