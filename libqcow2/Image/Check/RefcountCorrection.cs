using System;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Check;

/// <summary>Changes single refcounts where they are. Their blocks are sound: each is alone in its cluster.</summary>
internal sealed class RefcountCorrection(ImageUnderCheck image, RefcountTable refcounts, RepairWriter writer)
{
    private const int Sector = 512;

    /// <summary>Raises what is below the references. Nothing in use looks free after that.</summary>
    public LoopTask<int> RaiseAsync() => RunAsync(raise: true);

    /// <summary>Lowers what is above the references, when nothing on disk refers to it any more.</summary>
    public LoopTask<int> LowerAsync() => RunAsync(raise: false);

    private async LoopTask<int> RunAsync(bool raise)
    {
        using var buffer = new TableBuffer(image.ClusterSize);
        for (var cluster = 0; (cluster = NextDifferent(cluster, raise)) < image.Clusters;)
        {
            var index = cluster / image.BlockEntries;
            var end = (int)Math.Min((index + 1L) * image.BlockEntries, image.Clusters);
            var block = refcounts.BlockAt(index);
            if (block == 0)
                throw new InvalidOperationException($"cluster {cluster} has no refcount to change");
            var error = await buffer.ReadAsync(image.File, block, image.ClusterSize);
            if (error < 0)
                return error;
            var (from, to) = Change(buffer.Span, cluster, end, raise);
            error = await writer.WriteAsync(block + from, buffer, from, to - from);
            if (error < 0)
                return error;
            cluster = end;
        }

        return await writer.FlushAsync();
    }

    /// <summary>Changes the refcounts of a block, in memory.</summary>
    /// <returns>the bytes that hold changes, in whole sectors</returns>
    private (int From, int To) Change(Span<byte> block, int first, int end, bool raise)
    {
        var order = image.Header.RefcountOrder;
        var (from, to) = (int.MaxValue, 0);
        for (var cluster = first; (cluster = NextDifferent(cluster, raise)) < end; cluster++)
        {
            var entry = cluster % image.BlockEntries;
            RefcountEntries.Set(block, entry, order, image.Wanted(cluster));
            image.Stored[cluster] = image.Wanted(cluster);
            var at = (int)((long)entry << order >> 3);
            from = Math.Min(from, at / Sector * Sector);
            to = at / Sector * Sector + Sector;
        }

        return (from, to);
    }

    private int NextDifferent(int cluster, bool raise)
    {
        for (; (cluster = image.Counts.NextSet(image.Stored, cluster, image.Clusters)) < image.Clusters; cluster++)
        {
            var (wanted, stored) = (image.Wanted(cluster), image.Stored[cluster]);
            if (raise ? stored < wanted : stored > wanted)
                return cluster;
        }

        return image.Clusters;
    }
}
