using System.Collections.Generic;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Bitmaps;

/// <summary>What bitmaps need of the image that they are in. Home loop.</summary>
internal interface IBitmapSpace
{
    IBlockStorage File { get; }

    int ClusterBits { get; }

    /// <summary>Bytes of the smallest write.</summary>
    int WriteUnit { get; }

    /// <summary>Bytes of the disk.</summary>
    long DiskSize { get; }

    /// <summary>Bytes of the disk, at least, whose bits are set on disk with the first of them.</summary>
    long SmallestRegion { get; }

    /// <summary>Takes adjacent clusters. Nothing on disk may point to them before <see cref="CommitAsync"/>.</summary>
    /// <returns>the offset of the first, or a negative errno</returns>
    LoopTask<long> AllocateAsync(long clusters);

    /// <summary>Gives up clusters that nothing on disk points to any more. What is not the bitmaps' own is left alone.</summary>
    void Free(long offset, long clusters);

    /// <summary>
    /// Those of these clusters that are in use once, and that no table of the image names, are the bitmaps' own from now on.
    /// </summary>
    /// <returns>0, or a negative errno: then none of them is</returns>
    LoopTask<int> ProveAsync(HashSet<HostCluster> clusters);

    /// <summary>Whether each of these clusters was allocated in this opening of the image, or proven.</summary>
    bool IsOwn(long offset, long clusters);

    /// <summary>From now on nothing else is written where these clusters of a bitmap are.</summary>
    /// <returns>false if one of them has metadata already: then none is protected</returns>
    bool TryProtect(long offset, long clusters);

    /// <summary>No cluster is a bitmap's any more.</summary>
    void UnprotectAll();

    /// <summary>Everything that was changed before the call is on disk when this returns 0.</summary>
    LoopTask<int> CommitAsync();

    /// <summary>Brings to disk what was written to the file.</summary>
    LoopTask<int> SyncAsync();

    /// <summary>Makes the header point to another directory, or to none.</summary>
    LoopTask<int> SetExtensionAsync(BitmapsExtension? extension);

    /// <summary>A rule was broken: nothing more is written.</summary>
    /// <returns>-EIO</returns>
    int Stop(InvariantBreach breach);

    /// <summary>Where the directory is now: nothing else is written there.</summary>
    void MoveDirectory(BitmapsExtension? from, BitmapsExtension? to);
}
