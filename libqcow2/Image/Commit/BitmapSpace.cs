using System.Collections.Generic;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Bitmaps;
using Qcow2Blk.Image.Space;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Commit;

/// <summary>What persistent bitmaps get of an image that is open for writing.</summary>
internal sealed class BitmapSpace(
    ImageContext context, ImageOptions options, Allocator? allocator, FreeQueue? frees, RefcountBlocks? refcounts) : IBitmapSpace
{
    private readonly HashSet<HostCluster> _protected = [];
    private readonly HashSet<HostCluster> _own = [];

    public IBlockStorage File => context.File;

    public int ClusterBits => context.Geometry.ClusterBits;

    public int WriteUnit => context.WriteUnit;

    public long DiskSize => Rounding.Down(context.Header.Size, 512);

    public long SmallestRegion => options.BitmapRegionBytes;

    public async LoopTask<long> AllocateAsync(long clusters)
    {
        var offset = await allocator!.AllocateWholeAsync(checked((int)clusters));
        if (offset < 0)
            return offset;
        var first = FirstOf(offset);
        for (var cluster = first; cluster < first + clusters; cluster++)
            _own.Add(cluster);
        return offset;
    }

    public void Free(long offset, long clusters)
    {
        var first = FirstOf(offset);
        for (var cluster = first; cluster < first + clusters; cluster++)
        {
            if (_protected.Remove(cluster))
                context.Metadata!.Remove(context.Geometry.StartOf(cluster));

            // A damaged image: what is another's is worth more than a cluster that leaks.
            if (_own.Remove(cluster) && !context.Metadata!.Contains(context.Geometry.StartOf(cluster)))
                frees!.Add(cluster, 1);
        }
    }

    public async LoopTask<int> ProveAsync(HashSet<HostCluster> clusters)
    {
        var named = new NamedClusters(context, clusters);
        if (await named.RunAsync() is var error and < 0)
            return error;
        foreach (var cluster in clusters)
        {
            if (!named.Found.Contains(cluster) && await refcounts!.GetAsync(cluster) == 1)
                _own.Add(cluster);
        }

        return 0;
    }

    public bool IsOwn(long offset, long clusters)
    {
        var first = FirstOf(offset);
        for (var cluster = first; cluster < first + clusters; cluster++)
        {
            if (!_own.Contains(cluster))
                return false;
        }

        return true;
    }

    public bool TryProtect(long offset, long clusters)
    {
        var first = FirstOf(offset);
        for (var cluster = first; cluster < first + clusters; cluster++)
        {
            if (context.Metadata!.Contains(context.Geometry.StartOf(cluster)))
                return false;
        }

        for (var cluster = first; cluster < first + clusters; cluster++)
        {
            context.Metadata!.Add(context.Geometry.StartOf(cluster));
            _protected.Add(cluster);
        }

        return true;
    }

    public void UnprotectAll()
    {
        foreach (var cluster in _protected)
            context.Metadata!.Remove(context.Geometry.StartOf(cluster));
        _protected.Clear();
    }

    public LoopTask<int> CommitAsync() => context.Commit();

    public async LoopTask<int> SyncAsync()
    {
        if (context.WriteError != 0)
            return context.WriteError;
        var error = await context.File.FlushAsync();
        if (error < 0)
            context.SyncFailed(error);
        return error;
    }

    public LoopTask<int> SetExtensionAsync(BitmapsExtension? extension) =>
        context.HeaderBlock.SetBitmapsAsync(extension, context.Geometry.ClusterSize);

    public int Stop(InvariantBreach breach) => context.Stop(breach);

    public void MoveDirectory(BitmapsExtension? from, BitmapsExtension? to)
    {
        if (from is not null && context.Header.Autoclear.HasFlag(AutoclearFeatures.Bitmaps))
            context.Metadata!.Remove(from.DirectoryOffset, ClustersOf(from));
        if (to is not null)
            context.Metadata!.Add(to.DirectoryOffset, ClustersOf(to));
    }

    private HostCluster FirstOf(long offset) => context.Geometry.ClusterOf(new HostOffset(offset));

    private int ClustersOf(BitmapsExtension extension) =>
        (int)(Rounding.Up(extension.DirectorySize, 1L << ClusterBits) >> ClusterBits);
}
