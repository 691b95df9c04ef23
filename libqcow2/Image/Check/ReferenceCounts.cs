using System;

namespace Qcow2Blk.Image.Check;

/// <summary>What a cluster of the file is used for; the kinds that must not share a cluster.</summary>
[Flags]
internal enum ClusterUse : byte
{
    None = 0,
    Header = 1,
    L1Table = 2,
    L2Table = 4,
    RefcountTable = 8,
    RefcountBlock = 16,
    SnapshotTable = 32,
    Bitmap = 64,
    Data = 128,
}

/// <summary>References counted per cluster of the file, from the things that refer. Memory goes with the file's size.</summary>
internal sealed class ReferenceCounts
{
    private readonly CheckResult _result;
    private readonly int[] _counts;
    private readonly ClusterUse[] _uses;
    private readonly int _clusterBits;
    private readonly long _fileLength;

    public ReferenceCounts(CheckResult result, int clusterBits, long fileLength)
    {
        _result = result;
        _clusterBits = clusterBits;
        _fileLength = fileLength;
        Clusters = (int)((fileLength + (1L << clusterBits) - 1) >> clusterBits);
        // One more: the last thing in the file may end past it by less than a cluster.
        _counts = new int[Clusters + 1];
        _uses = new ClusterUse[Clusters + 1];
    }

    /// <summary>Clusters in the file, the last one perhaps in part.</summary>
    public int Clusters { get; }

    public int this[int cluster] => _counts[cluster];

    public ClusterUse UseOf(int cluster) => _uses[cluster];

    /// <summary>Counts <paramref name="weight"/> references to every cluster that the range touches.</summary>
    /// <returns>false, with a finding, if the range is not in the file</returns>
    public bool Add(long offset, long length, ClusterUse use, CheckSubject from, int weight = 1)
    {
        if (length <= 0)
            return true;
        // The last cluster of an image may be short, so a range may end past the file by less than one.
        if (offset < 0 || offset > _fileLength || length > _fileLength - offset + (1L << _clusterBits) - 1)
        {
            _result.Error(from, offset, $"{Name(use)} at 0x{offset:x} of {length} bytes lies past the end of the file (0x{_fileLength:x})");
            return false;
        }

        var last = (int)((offset + length - 1) >> _clusterBits);
        for (var cluster = (int)(offset >> _clusterBits); cluster <= last; cluster++)
            AddCluster(cluster, use, weight);
        return true;
    }

    private void AddCluster(int cluster, ClusterUse use, int weight)
    {
        _counts[cluster] = (int)Math.Min((long)_counts[cluster] + weight, int.MaxValue);
        var before = _uses[cluster];
        _uses[cluster] |= use;
        if (before != ClusterUse.None && before != use && _uses[cluster] != before)
            _result.Error(CheckSubject.Overlap, (long)cluster << _clusterBits, $"cluster 0x{(long)cluster << _clusterBits:x} is both {Name(before)} and {Name(use)}");
    }

    private static string Name(ClusterUse use) => use switch
    {
        ClusterUse.Header => "the header",
        ClusterUse.L1Table => "an L1 table",
        ClusterUse.L2Table => "an L2 table",
        ClusterUse.RefcountTable => "the refcount table",
        ClusterUse.RefcountBlock => "a refcount block",
        ClusterUse.SnapshotTable => "the snapshot table",
        ClusterUse.Bitmap => "bitmap data",
        ClusterUse.Data => "guest data",
        _ => "several things",
    };
}
