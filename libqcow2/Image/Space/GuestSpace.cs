using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Space;

/// <summary>
/// Places for guest clusters: host clusters of the image file, or, in an external data file, the place that the cluster has on
/// the disk, which it always owns.
/// </summary>
/// <param name="context">the image</param>
/// <param name="allocator">of the image file</param>
/// <param name="frees">what is given back there</param>
internal sealed class GuestSpace(ImageContext context, Allocator allocator, FreeQueue frees)
{
    private readonly AsyncLock _growing = new();
    private readonly Geometry _geometry = context.Geometry;

    /// <summary>Places for up to <paramref name="count"/> adjacent clusters, at least one. The clusters are locked.</summary>
    /// <param name="guestCluster">the first one</param>
    /// <param name="count">how many are wanted</param>
    public LoopTask<HostRun> AllocateAsync(GuestCluster guestCluster, int count) =>
        _geometry.HasDataFile ? PlaceAsync(guestCluster, count) : allocator.AllocateAsync(count);

    /// <summary>Gives back clusters that nothing points to yet.</summary>
    public LoopTask<int> ReleaseAsync(HostRun run) => _geometry.HasDataFile ? new LoopTask<int>(0) : allocator.ReleaseAsync(run);

    /// <summary>Queues what an entry pointed to: it is free once a commit has taken the entry from the file.</summary>
    public void Free(in L2Entry old)
    {
        if (_geometry.HasDataFile)
            return;
        var first = _geometry.ClusterOf(old.Host);
        if (old.HasHost)
            frees.Add(first, 1);
        else if (old.Kind == L2Kind.Compressed)
            frees.Add(first, _geometry.ClusterOf(old.Host + (old.CompressedLength - 1)) - first + 1);
    }

    /// <summary>What was there before is not known to be zeroes: another program may have written the file.</summary>
    private async LoopTask<HostRun> PlaceAsync(GuestCluster guestCluster, int count)
    {
        var offset = _geometry.StartOf(guestCluster).Value;
        var end = long.Min(
            Rounding.Up(offset + ((long)count << _geometry.ClusterBits), context.Data.BlockBytes),
            Rounding.Up(_geometry.DiskSize, context.Data.OffsetAlignment));
        var error = end > context.Data.Length ? await GrowAsync(end) : 0;
        return error < 0 ? HostRun.Failed(error) : new HostRun(0, new HostOffset(offset), count, Fresh: false);
    }

    /// <summary>Makes the data file longer. One at a time: the one that ends last must not cut off what another has added.</summary>
    private async LoopTask<int> GrowAsync(long end)
    {
        if (context.Data.HasFixedLength)
            return -Errno.ENOSPC;
        await _growing.EnterAsync();
        var error = 0;
        try
        {
            if (end > context.Data.Length)
                error = await context.Data.SetLengthAsync(end);
        }
        catch (InvariantBreach breach)
        {
            error = context.Stop(breach);
        }

        _growing.Exit();
        return error;
    }
}
