using System.Collections.Generic;
using Qcow2Blk.Interop;
using static Qcow2Blk.Interop.Ublk;

namespace Qcow2Blk.Exports.Ublk;

/// <summary>Whether this process can have ublk devices here, found out without making one.</summary>
/// <param name="Features">what the driver can do (<c>UBLK_F_*</c>); 0 if unavailable</param>
/// <param name="IsUnprivileged">
/// whether only devices of an unprivileged user are to be had: no recovery, copies through mapped buffers, and the
/// kernel kills a server that is silent for 30 s
/// </param>
/// <param name="Warnings">what is known of this kernel</param>
/// <param name="Refusal">why not; null if available</param>
internal sealed record UblkAvailability(ulong Features, bool IsUnprivileged, IReadOnlyList<string> Warnings,
    ExportRefusedException? Refusal)
{
    public bool IsAvailable => Refusal is null;

    public bool Has(ulong features) => (Features & features) == features;

    /// <summary>Judges what the driver answered.</summary>
    internal static UblkAvailability Of(ulong features, in UblkHost host)
    {
        var warnings = UblkKernelWarnings.For(host.Release);
        if (host.IsAdministrator)
            return new UblkAvailability(features, false, warnings, null);
        return (features & UBLK_F_UNPRIVILEGED_DEV) != 0
            ? new UblkAvailability(features, true, warnings, null)
            : Refused(UblkStep.AddDevice, -Errno.EPERM, host);
    }

    internal static UblkAvailability Refused(UblkStep step, int error, in UblkHost host) =>
        new(0, false, UblkKernelWarnings.For(host.Release), UblkRefusals.Of(step, error, -1, host));
}

/// <summary>Probing.</summary>
internal sealed partial class UblkControl
{
    /// <summary>
    /// Whether this process can have ublk devices, and if not, why. The driver is loaded if it is installed and this process
    /// may; nothing else is made.
    /// </summary>
    public static UblkAvailability Availability()
    {
        var host = UblkHost.OfThis();
        if (host.Module == UblkModule.Installed && host.IsAdministrator && KernelModule.Load("ublk_drv") is null)
            host = UblkHost.OfThis();
        var result = TryOpen(out var control, out var step);
        if (control is null)
            return UblkAvailability.Refused(step, result, host);
        using (control)
        {
            result = control.GetFeatures(out var features);
            return result < 0 ? UblkAvailability.Refused(UblkStep.GetFeatures, result, host) : UblkAvailability.Of(features, host);
        }
    }
}
