using Qcow2Blk.Interop;

namespace Qcow2Blk.Image;

/// <summary>What is said of sizes, whatever the format.</summary>
internal static class DiskSize
{
    /// <summary>What is behind the new end is lost, so it has to be said that this is meant.</summary>
    public static EditAnswer NotToShrink(long before, long size) =>
        EditAnswer.Refused(EditResult.Failed, $"the disk has {before} bytes: with {size}, what is behind that would be lost",
            "use --shrink if that is meant") with
        {
            Error = -Errno.ERANGE,
        };
}
