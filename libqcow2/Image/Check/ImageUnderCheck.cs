using System;
using System.Collections.Generic;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Check;

/// <summary>An image that is being checked: its file, its header, and how often each cluster of the file is referred to.</summary>
internal sealed class ImageUnderCheck
{
    /// <summary>Cluster numbers are ints here; qemu has the same limit.</summary>
    private const long ClusterLimit = int.MaxValue - 8;

    /// <summary>A byte for each cluster always costs no more than this, and is far quicker.</summary>
    private const long DenseClusters = 4 << 20;

    /// <summary>A sound image stores 8 bytes of an L2 entry for a cluster that it refers to: two may be kept then.</summary>
    private const int StoredBytesPerCluster = 4;

    /// <summary>Bytes of tables that may be read beyond what the file stores: tables of a hostile image overlap many times.</summary>
    private const long ExcessLimit = 4L << 30;

    private long _tableBytes;

    private ImageUnderCheck(IBlockStorage file, Header header, CheckResult result)
    {
        (File, Header, Result) = (file, header, result);
        Rules = new DescriptorRules(header);
        RefcountMax = RefcountEntries.Max(header.RefcountOrder);

        // As qemu sees files: in whole sectors.
        FileLength = Rounding.Up(file.Length, 512);
        Clusters = FileClusters = (int)(Rounding.Up(FileLength, ClusterSize) >> ClusterBits);
        var isDense = Clusters <= DenseClusters || Clusters <= file.AllocatedBytes / StoredBytesPerCluster;
        Counts = new ClusterTally(Clusters, isDense);
        Stored = new ClusterTally(Clusters, isDense);
        result.TotalClusters = (Rounding.Down(header.Size, 512) + ClusterSize - 1) >> ClusterBits;
    }

    public IBlockStorage File { get; }

    public Header Header { get; }

    public CheckResult Result { get; }

    public DescriptorRules Rules { get; }

    public int ClusterBits => Header.ClusterBits;

    public int ClusterSize => Header.ClusterSize;

    public long ClusterMask => ClusterSize - 1;

    public long FileLength { get; }

    /// <summary>Clusters in the file, the last one perhaps in part.</summary>
    public int FileClusters { get; }

    /// <summary>Clusters that have a refcount: those in the file, and perhaps one behind it that something refers to.</summary>
    public int Clusters { get; private set; }

    /// <summary>Clusters that one refcount block describes.</summary>
    public int BlockEntries => (int)((long)ClusterSize * 8 >> Header.RefcountOrder);

    public ulong RefcountMax { get; }

    /// <summary>References found.</summary>
    public ClusterTally Counts { get; }

    /// <summary>Refcounts as the image has them.</summary>
    public ClusterTally Stored { get; }

    /// <summary>Blocks of the refcount table that cannot be read, by their index there.</summary>
    public HashSet<long> BrokenBlocks { get; } = [];

    /// <summary>Ranges of the file that hold tables, whose bytes no repair of another thing may touch; L2 tables aside.</summary>
    public List<(long Start, long End)> Tables { get; } = [];

    /// <summary>References to what is not in the file. Nothing new may be put there: it would become theirs.</summary>
    public List<(long Start, long End)> Outside { get; } = [];

    /// <summary>Hears what is being done and the fraction that is done of it.</summary>
    public Action<string, double>? Progress { get; init; }

    /// <returns>null, with the reason in <paramref name="result"/>, if it cannot be checked</returns>
    /// <exception cref="ImageFormatException">it is no image, or one of a kind that nobody knows</exception>
    public static async LoopTask<ImageUnderCheck?> OpenAsync(IBlockStorage file, CheckResult result, Action<string, double>? progress)
    {
        var header = await ReadHeaderAsync(file, result);
        if (header is null)
            return null;
        if (Rounding.Up(file.Length, header.ClusterSize) >> header.ClusterBits > ClusterLimit)
        {
            result.Stop($"the file has more than {ClusterLimit} clusters");
            return null;
        }

        result.Dirty = header.Incompatible.HasFlag(IncompatibleFeatures.Dirty);
        return new ImageUnderCheck(file, header, result) { Progress = progress };
    }

    /// <summary>Counts a reference to every cluster that a range touches.</summary>
    /// <param name="offset">in bytes, not negative</param>
    /// <param name="length">in bytes</param>
    /// <param name="from">what refers</param>
    /// <param name="times">how often</param>
    public void Count(long offset, long length, CheckSubject from, long times = 1)
    {
        if (length <= 0)
            return;
        // The last cluster may be cut short by the end of the file.
        if (offset + length - FileLength >= ClusterSize)
        {
            Result.Error(from, offset, times,
                $"{from.Words()} refers to 0x{offset:x} with {length} bytes, past the end of the file (0x{FileLength:x})");
            NoteOutside(offset, length);
            return;
        }

        var last = (int)((offset + length - 1) >> ClusterBits);
        for (var cluster = (int)(offset >> ClusterBits); cluster <= last; cluster++)
            CountCluster(cluster, times);
    }

    public void CountCluster(int cluster, long times)
    {
        // Nearly always.
        if (times == 1 && Counts.TryAddOne(cluster, RefcountMax))
            return;
        if (cluster >= Clusters)
            Clusters = cluster + 1;
        var before = Counts[cluster];
        Counts.Add(cluster, times);
        if ((ulong)before + (ulong)times <= RefcountMax)
            return;
        var beyond = (long)((ulong)before + (ulong)times - Math.Max(before, RefcountMax));
        Result.Error(CheckSubject.Refcount, (long)cluster << ClusterBits, beyond,
            $"cluster 0x{(long)cluster << ClusterBits:x} has {before + times} references, more than a refcount of this image can hold");
    }

    /// <summary>Takes one reference back.</summary>
    public void Uncount(int cluster) => Counts[cluster] -= Counts[cluster] > 0 ? 1u : 0;

    /// <summary>The refcount that a cluster should have.</summary>
    public uint Wanted(int cluster) => (uint)Math.Min(Counts[cluster], RefcountMax);

    /// <summary>Allows for bytes of tables that are about to be read.</summary>
    /// <returns>false: far more was read than the file stores, so tables must overlap</returns>
    public bool MayRead(long bytes)
    {
        _tableBytes += bytes;
        if (_tableBytes <= ExcessLimit + Math.Min(2 * Math.Min(File.AllocatedBytes, long.MaxValue / 4), long.MaxValue / 2))
            return true;
        Result.Stop($"its tables overlap: {_tableBytes} bytes of them were read from a file that stores {File.AllocatedBytes}");
        return false;
    }

    private void NoteOutside(long offset, long length)
    {
        if (Outside.Count == 0 || Outside[^1] != (offset, offset + length))
            Outside.Add((offset, offset + length));
    }

    private static async LoopTask<Header?> ReadHeaderAsync(IBlockStorage file, CheckResult result)
    {
        var length = (int)Math.Min(Header.MaxParseBytes, file.Length);
        using var buffer = new TableBuffer(Math.Max(length, 1));
        var error = await buffer.ReadAsync(file, 0, length);
        if (error >= 0)
            return Header.Parse(buffer.Span[..length], file.Path, forCheck: true);
        result.ReadError = error;
        result.Stop($"the header cannot be read (errno {-error})");
        return null;
    }
}
