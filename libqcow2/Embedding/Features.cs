using Qcow2Blk.Exports.NbdKernel;
using Qcow2Blk.Exports.Ublk;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Embedding;

/// <summary>What the engine can do on this machine, now.</summary>
internal static class Features
{
    /// <returns>false for what is not known, too</returns>
    public static bool Has(string name) => name switch
    {
        "io_uring" => HasRing(),
        "ublk" => UblkControl.Availability().IsAvailable,
        "nbd" => KernelNbdAvailability.Probe().IsAvailable,
        "deflate" or "zstd" => true,
        _ => false,
    };

    private static bool HasRing()
    {
        if (Ring.Create(1, out var ring, ofThread: false) < 0)
            return false;
        ring!.Dispose();
        return true;
    }
}
