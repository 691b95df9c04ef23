using System;
using System.Diagnostics.CodeAnalysis;
using System.Threading;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Tests.Devices;

/// <summary>Commands of a device for tests that do one thing after the other: each waits here for its outcome.</summary>
internal static class DeviceCalls
{
    public static Outcome Suspend([NotNull] this IDevice? device, TimeSpan timeout) =>
        device!.SuspendAsync(timeout, CancellationToken.None).GetAwaiter().GetResult();

    public static Outcome Resume([NotNull] this IDevice? device, bool allowShrink, TimeSpan timeout, TimeSpan? lockTimeout = null) =>
        device!.ResumeAsync(allowShrink, timeout, lockTimeout, CancellationToken.None).GetAwaiter().GetResult();

    public static Outcome Detach([NotNull] this IDevice? device, bool force, TimeSpan timeout) =>
        device!.DetachAsync(force, timeout, CancellationToken.None).GetAwaiter().GetResult();

    public static Outcome HandOver([NotNull] this IDevice? device, TimeSpan timeout, bool ending) =>
        device!.HandOverAsync(timeout, ending, CancellationToken.None).GetAwaiter().GetResult();
}
