using System;

namespace Qcow2Blk.Format;

/// <summary>
/// Whether the data clusters of a qcow2 file are to be expected in holes of the file, as in a disk made with
/// preallocation=metadata. Only then is the file asked about its holes: anywhere else that is work for nothing.
/// </summary>
/// <remarks>
/// qemu's rule (qcow2_detect_metadata_preallocation), with the clusters of the file in place of those with a refcount,
/// which are not known of an image that is only read.
/// </remarks>
internal static class Preallocation
{
    /// <param name="fileLength">bytes in the file</param>
    /// <param name="allocated">bytes that it takes on its file system</param>
    /// <param name="clusterSize">bytes of a cluster</param>
    public static bool LeavesHoles(long fileLength, long allocated, int clusterSize)
    {
        var stored = allocated / clusterSize;
        var threshold = Math.Max(stored + stored / 9, stored + 2);
        return (fileLength / clusterSize) + (fileLength % clusterSize == 0 ? 0 : 1) >= threshold;
    }
}
