using System.Collections.Generic;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Bitmaps;

/// <summary>Whether the clusters that the structures of bitmaps name are theirs.</summary>
/// <remarks>
/// A damaged directory or table may name any cluster: one of guest data, of a table, of another bitmap. Nothing is written to a cluster
/// in place, and none is given up, before all that could name it besides was looked at: once in each opening of the image, as what is
/// allocated later is known to be free of others. That is before the first change if a bitmap records, else when one is edited.
/// </remarks>
internal sealed partial class BitmapSet
{
    private bool _isProven;
    private string? _foreignDirectory;

    /// <summary>Learns which clusters are the bitmaps' alone, if that is not known yet.</summary>
    /// <returns>0, or a negative errno: then none is known to be</returns>
    private async LoopTask<int> ProveAsync()
    {
        if (_isProven || _directory is null)
            return 0;
        var (once, twice) = (new HashSet<HostCluster>(), new HashSet<HostCluster>());
        Claim(_extension!.DirectoryOffset.Value, ClustersOf(_extension.DirectorySize));
        foreach (var entry in _directory.Entries)
        {
            // One that lies where another does is not read again for each that does so.
            if (Claim(entry.TableOffset.Value, ClustersOf((long)entry.TableSize * sizeof(ulong))) && await LoadAsync(entry) is { } stored)
            {
                for (var index = 0; index < stored.Clusters; index++)
                    Claim(BitmapTableEntry.OffsetOf(stored[index]), 1);
            }
        }

        once.ExceptWith(twice);
        var error = await _space.ProveAsync(once);
        _isProven = error == 0;
        return error;

        bool Claim(long offset, long clusters)
        {
            var isFirst = true;
            var first = new HostCluster(offset >> _space.ClusterBits);
            for (var cluster = first; offset != 0 && cluster < first + clusters; cluster++)
            {
                if (once.Add(cluster))
                    continue;
                twice.Add(cluster);
                isFirst = false;
            }

            return isFirst;
        }
    }

    /// <returns>null if it is of no use: then its clusters are nobody's to give up</returns>
    private async LoopTask<StoredBitmap?> LoadAsync(BitmapEntry entry)
    {
        try
        {
            return (await StoredBitmap.LoadAsync(_space.File, entry, _space.DiskSize, _space.ClusterBits)).Bitmap;
        }
        catch (ImageFormatException)
        {
            return null;
        }
    }

    /// <summary>A directory that lies in what is another's is none: nothing of it is written, not even a flag.</summary>
    private async LoopTask<int> ProveDirectoryAsync()
    {
        var error = await ProveAsync();
        _foreignDirectory = error < 0 ? $"nobody knows what else is in the clusters of the bitmaps: {Errno.Text(error)}"
            : _space.IsOwn(_extension!.DirectoryOffset.Value, ClustersOf(_extension.DirectorySize)) ? null
            : $"the bitmap directory at {_extension.DirectoryOffset} lies in a cluster that is used for something else";
        if (_foreignDirectory is null)
            return 0;
        _space.MoveDirectory(_extension, null);
        (_directory, Damage) = (null, _foreignDirectory);
        return 0;
    }
}
