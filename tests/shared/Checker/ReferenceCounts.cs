using System;
using System.Collections.Generic;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Check;

namespace Qcow2Blk.Tests.Shared.Checker;

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

/// <summary>References counted per cluster of the file, from the things that refer. Memory goes with the references.</summary>
internal sealed class ReferenceCounts
{
    /// <summary>References to one cluster that can be told apart: 256 for each of the snapshots that an image may have.</summary>
    public const int CountLimit = (1 << CountBits) - 1;

    /// <summary>
    /// Clusters that may be referred to: 16 TiB of 64 KiB, for which there is about 1.5 GiB of memory. More can be claimed with
    /// little: every entry of a table is 8 bytes.
    /// </summary>
    public const long ClusterLimit = 1 << 28;

    /// <summary>
    /// Bytes of tables that lie in tables that were read before. Of a sound image none do; those of a hostile one could name the
    /// same bytes many thousand times, and each time they have to be read.
    /// </summary>
    public const long RereadLimit = 1 << 30;

    private const int CountBits = 24;

    private readonly CheckResult _result;
    private readonly ClusterNumbers _counts = new(); // the uses in the upper byte, the references below
    private readonly int _clusterBits;
    private readonly long _fileLength;
    private readonly long _clusterLimit;
    private long _reread;
    private bool _isFull;

    public ReferenceCounts(CheckResult result, int clusterBits, long fileLength, long clusterLimit = ClusterLimit)
    {
        _clusterLimit = clusterLimit;
        _result = result;
        _clusterBits = clusterBits;
        _fileLength = fileLength;
        Clusters = (int)(Rounding.Up(fileLength, 1L << clusterBits) >> clusterBits);
    }

    /// <summary>Clusters in the file, the last one perhaps in part.</summary>
    public int Clusters { get; }

    public int this[int cluster] => (int)(_counts[cluster] & CountLimit);

    public ClusterUse UseOf(int cluster) => (ClusterUse)(_counts[cluster] >> CountBits);

    /// <summary>Clusters with references, or with a number in <paramref name="other"/>, in the order of the file.</summary>
    public IEnumerable<int> Referenced(ClusterNumbers? other = null) => _counts.Set(other);

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
        for (var cluster = (int)(offset >> _clusterBits); cluster <= last && !_isFull; cluster++)
            AddCluster(cluster, use, weight);
        return !_isFull;
    }

    /// <summary>As <see cref="Add"/>, for a table that is to be read.</summary>
    /// <returns>false, with a finding, also if too much of it was read before</returns>
    public bool AddTable(long offset, long length, ClusterUse use, CheckSubject from)
    {
        if (offset >= 0 && length > 0 && offset <= _fileLength)
        {
            var last = (Math.Min(_fileLength, offset + Math.Min(length, _fileLength)) - 1) >> _clusterBits;
            for (var cluster = offset >> _clusterBits; cluster <= last && _reread <= RereadLimit; cluster++)
                _reread += (UseOf((int)cluster) & use) != 0 ? 1L << _clusterBits : 0;
        }

        if (_reread <= RereadLimit)
            return Add(offset, length, use, from);
        _result.Error(from, offset, $"{Name(use)} at 0x{offset:x} lies inside tables that were read before, as did {_reread} bytes so far");
        return false;
    }

    private void AddCluster(int cluster, ClusterUse use, int weight)
    {
        var (count, before) = (this[cluster] + (long)weight, UseOf(cluster));
        if (count > CountLimit)
        {
            _result.Error(CheckSubject.Refcount, (long)cluster << _clusterBits,
                $"cluster 0x{(long)cluster << _clusterBits:x} has {count} references, more than {CountLimit}");
        }

        _counts[cluster] = (uint)Math.Min(count, CountLimit) | ((uint)(before | use) << CountBits);
        if (before != ClusterUse.None && before != use && (before | use) != before)
        {
            _result.Error(CheckSubject.Overlap, (long)cluster << _clusterBits,
                $"cluster 0x{(long)cluster << _clusterBits:x} is both {Name(before)} and {Name(use)}");
        }

        if (_counts.Capacity <= _clusterLimit)
            return;
        _isFull = true;
        _result.Error(CheckSubject.Refcount, (long)cluster << _clusterBits,
            $"the image refers to more clusters than can be counted here ({_clusterLimit})");
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
