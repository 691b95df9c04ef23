using System;
using Qcow2Blk.Image.Space;
using Qcow2Blk.Image.Tables;

namespace Qcow2Blk.Image.Opening;

/// <summary>Refcounts and allocation of an image that is written.</summary>
internal sealed class SpaceParts
{
    /// <param name="context">the image</param>
    /// <param name="options">how it is served</param>
    /// <param name="refcountTable">its refcount table</param>
    /// <param name="slices">slices of L2 tables that the disk needs</param>
    public SpaceParts(ImageContext context, ImageOptions options, MetadataTable refcountTable, long slices)
    {
        var (file, geometry) = (context.File, context.Geometry);
        var counted = (file.Length >> geometry.ClusterBits << geometry.RefcountOrder >> 3) / geometry.SliceBytes;
        var cache = new SliceCache(geometry.SliceBytes, Math.Max(options.CacheBytes / 4, 64 * 1024),
            Math.Max(slices, counted) + 1, options.ResidentCache);
        Refcounts = new RefcountBlocks(context, refcountTable, cache) { EntriesInFile = refcountTable.Entries };
        Frees = new FreeQueue(context, Refcounts, options.Discard == DiscardMode.Unmap);
        Allocator = new Allocator(context, Refcounts, Frees, file.HasFixedLength);
        Frees.Freed = Allocator.NoteFree;
    }

    public RefcountBlocks Refcounts { get; }

    public FreeQueue Frees { get; }

    public Allocator Allocator { get; }
}
