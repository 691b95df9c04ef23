using System;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Tests.Shared.Checker;

/// <summary>
/// Checks the metadata of a qcow2 file: counts every reference that the image makes and compares with its refcounts.
/// Shares no code and no cache with the engine. Work and memory are bounded by
/// what the file stores, whatever its size and its claims.
/// </summary>
internal static class ImageChecker
{
    /// <summary>Cluster indexes are ints here; qemu has the same limit.</summary>
    private const long ClusterLimit = int.MaxValue - 2;

    /// <summary>Checks a file on the calling loop. Nothing may write to it meanwhile.</summary>
    /// <param name="file">the image file</param>
    /// <param name="progress">hears how far it is</param>
    public static async LoopTask<CheckResult> CheckAsync(IBlockStorage file, Action<string, double>? progress = null)
    {
        ArgumentNullException.ThrowIfNull(file);
        var result = new CheckResult();
        var header = await ReadHeaderAsync(file, result);
        if (header is null)
            return result;
        var counts = new ReferenceCounts(result, header.ClusterBits, file.Length);
        var stored = await StoredRefcounts.LoadAsync(file, header, counts, result);
        if (result.ReadError >= 0)
        {
            result.ReadError =
                await CountAsync(file, header, counts, result, new ClusterTables(file, header, counts, result)
                {
                    Stored = stored,
                    Progress = fraction => progress?.Invoke("checking", fraction),
                });
        }

        if (result.ReadError >= 0)
            Compare(header, counts, stored, result);
        return result;
    }

    /// <summary>Reads and decodes the header; null, with the finding in <paramref name="result"/>, if it is none.</summary>
    internal static async LoopTask<CheckedHeader?> ReadHeaderAsync(IBlockStorage file, CheckResult result)
    {
        var length = (int)Math.Min(CheckedHeader.ReadLength, file.Length);
        using var buffer = new TableBuffer(Math.Max(length, 1));
        var error = await buffer.ReadAsync(file, 0, length);
        if (error < 0)
        {
            result.ReadError = error;
            result.Refuse($"the header cannot be read (errno {-error})");
            return null;
        }

        var header = CheckedHeader.Parse(buffer.Span[..length], out var reason);
        if (header is null)
            result.Refuse(reason);
        else if (file.Length >> header.ClusterBits > ClusterLimit)
            result.Refuse($"the file has more than {ClusterLimit} clusters");
        result.Dirty = header?.Dirty ?? false;
        return result.Unreadable ? null : header;
    }

    /// <summary>Counts all references but those of the refcount structures themselves.</summary>
    internal static async LoopTask<int> CountAsync(IBlockStorage file, CheckedHeader header, ReferenceCounts counts, CheckResult result,
        ClusterTables tables)
    {
        counts.Add(0, header.ClusterSize, ClusterUse.Header, CheckSubject.Header);
        counts.Add(header.EncryptionHeaderOffset, header.EncryptionHeaderLength, ClusterUse.Header, CheckSubject.Header);
        var error = await tables.AddL1Async(header.L1Offset, header.L1Entries, active: true);
        if (error >= 0)
            error = await SnapshotTables.AddAsync(file, header, counts, tables, result);
        if (error >= 0)
            error = await new BitmapTables(file, header, counts, result).AddAsync();
        return error < 0 ? error : await tables.WalkL2Async();
    }

    private static void Compare(CheckedHeader header, ReferenceCounts counts, StoredRefcounts stored, CheckResult result)
    {
        foreach (var cluster in counts.Referenced(stored.Values))
        {
            // The last thing in the file may end past it.
            if (cluster >= counts.Clusters)
                break;
            var offset = (long)cluster << header.ClusterBits;
            var (counted, refcount) = (counts[cluster], stored[cluster]);
            if (counted > 0)
            {
                result.UsedClusters++;
                result.EndOffset = offset + header.ClusterSize;
            }

            if ((ulong)counted > header.RefcountMaximum)
            {
                result.Error(CheckSubject.Refcount, offset,
                    $"cluster 0x{offset:x} has {counted} references, more than a refcount can hold");
            }
            else if (refcount < counted)
            {
                result.Error(CheckSubject.Refcount, offset, $"cluster 0x{offset:x} has refcount {refcount}, but {counted} references");
            }
            else if (refcount > counted)
            {
                result.Leak(offset, $"cluster 0x{offset:x} has refcount {refcount}, but {counted} references");
            }

            if (counted > 1 && counts.UseOf(cluster) is ClusterUse.RefcountBlock or ClusterUse.RefcountTable or ClusterUse.Header)
                result.Error(CheckSubject.Overlap, offset, $"metadata cluster 0x{offset:x} is used {counted} times");
        }
    }
}
