using System.Collections.Generic;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Tables;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image;

/// <summary>
/// Which host clusters hold metadata, so that neither guest data nor a new cluster is ever written over it, whatever
/// a damaged image says. Only images opened for writing have one.
/// </summary>
internal sealed class MetadataMap
{
    private readonly ClusterSet _clusters = new();
    private readonly string _path;
    private readonly int _clusterBits;
    private readonly long _fileClusters;

    private MetadataMap(string path, in Geometry geometry, long fileLength)
    {
        _path = path;
        _clusterBits = geometry.ClusterBits;
        _fileClusters = Rounding.Up(fileLength, geometry.ClusterSize) >> _clusterBits;
    }

    /// <summary>Enters everything that the header, the tables and the snapshots point to.</summary>
    /// <exception cref="ImageFormatException">two of them lie in one cluster</exception>
    public static MetadataMap Build(
        ImageContext context, MetadataTable l1, MetadataTable refcountTable, IReadOnlyList<SnapshotEntry> snapshots, int snapshotTableBytes)
    {
        var header = context.Header;
        var map = new MetadataMap(context.File.Path, context.Geometry, context.File.Length);
        map.Enter("header", 0, 1);
        map.Enter("l1_table_offset", l1.HostOffset, (long)l1.Entries * sizeof(ulong));
        map.Enter("refcount_table_offset", refcountTable.HostOffset, (long)refcountTable.Entries * sizeof(ulong));
        foreach (var snapshot in snapshots)
            map.Enter($"L1 table of snapshot {snapshot.Id}", snapshot.L1TableOffset.Value, (long)snapshot.L1Size * sizeof(ulong));
        if (header.SnapshotCount > 0)
            map.Enter("snapshots_offset", header.SnapshotsOffset.Value, snapshotTableBytes);
        if (header.Bitmaps is { } bitmaps && (header.Autoclear & AutoclearFeatures.Bitmaps) != 0)
            map.Enter("bitmap_directory_offset", bitmaps.DirectoryOffset.Value, bitmaps.DirectorySize);
        if (header.Encryption is { } encryption)
            map.Enter("encryption_header_offset", encryption.Offset.Value, encryption.Bytes);
        for (var i = 0; i < refcountTable.Entries; i++)
        {
            if (RefcountTableEntry.TryDecode(refcountTable[i], context.Geometry, out var block) && block.Value != 0)
                map.Enter($"refcount block {i}", block.Value, 1);
        }

        for (var i = 0; i < l1.Entries; i++)
        {
            if (L1Entry.Decode(l1[i]) is { IsEmpty: false } entry && entry.IsAligned(context.Geometry))
                map.Enter($"L2 table {i}", entry.Offset.Value, 1);
        }

        return map;
    }

    public bool Contains(HostOffset offset) => _clusters.Contains(offset.Value >> _clusterBits);

    /// <summary>The clusters of a new table or block.</summary>
    public void Add(HostOffset offset, int clusters = 1)
    {
        for (var i = 0; i < clusters; i++)
        {
            var isNew = _clusters.Add((offset.Value >> _clusterBits) + i);
            Invariant.Holds(isNew, "new metadata lies where no other is", offset.Value, i);
        }
    }

    /// <summary>The clusters hold no metadata of the active image any more.</summary>
    public void Remove(HostOffset offset, int clusters = 1)
    {
        for (var i = 0; i < clusters; i++)
        {
            Invariant.Holds(_clusters.Contains((offset.Value >> _clusterBits) + i), "metadata that is given up was there", offset.Value, i);
            _clusters.Remove((offset.Value >> _clusterBits) + i);
        }
    }

    private void Enter(string field, long offset, long length)
    {
        var last = (offset + length - 1) >> _clusterBits;
        for (var cluster = offset >> _clusterBits; cluster <= last; cluster++)
        {
            // Past the end of the file there is nothing to be written over yet, and the pointer may be nonsense.
            if (cluster > _fileClusters)
                throw new ImageFormatException(_path, field, $"{field} points to 0x{offset:x}, past the end of the file");
            if (!_clusters.Add(cluster))
                throw new ImageFormatException(_path, field, $"{field} at 0x{offset:x} overlaps other metadata; run \"qemu-img check\"");
        }
    }
}
