using System;
using System.Collections.Generic;
using System.Linq;

namespace Qcow2Blk.Image.Check;

/// <summary>Clusters that nothing refers to, neither now nor before the repair: holes of the file, then what is behind its end.</summary>
internal sealed class FreeClusters
{
    private readonly ImageUnderCheck _image;
    private readonly HashSet<int> _taken = [];
    private readonly List<(long Start, long End)> _outside;
    private int _next = 1;
    private long _rangeStart = -1;
    private Storage.FileRange _range;

    /// <param name="image">whose references were counted</param>
    /// <param name="refcounts">its refcounts as they are: they are in force until the repair has made others</param>
    public FreeClusters(ImageUnderCheck image, RefcountTable refcounts)
    {
        _image = image;
        _outside = [.. image.Outside.Order()];
        foreach (var (_, raw) in refcounts.Entries)
            Keep((long)(raw & Format.RefcountTableEntry.OffsetMask), image.ClusterSize);
        Keep(image.Header.RefcountTableOffset.Value, (long)image.Header.RefcountTableClusters << image.ClusterBits);
    }

    /// <summary>Takes clusters that follow each other.</summary>
    /// <returns>the first of them; -1 if there is no more room</returns>
    public int Take(int count)
    {
        for (var (first, found) = (_next, 0); ; first += found + 1, found = 0)
        {
            while (found < count && IsFree(first + found))
                found++;
            if (found == count)
            {
                for (var cluster = first; cluster < first + count; cluster++)
                    _taken.Add(cluster);
                if (count == 1)
                    _next = first + 1;
                return IsRoomFor(first + count) ? first : -1;
            }

            if (first > int.MaxValue - count - 2)
                return -1;
        }
    }

    private bool IsRoomFor(int end) => !_image.File.HasFixedLength || (long)end << _image.ClusterBits <= _image.File.Length;

    private bool IsFree(int cluster) => _image.Counts[cluster] == 0 && !_taken.Contains(cluster)
        && (cluster < _image.FileClusters ? _image.File.HasFixedLength || IsHole((long)cluster << _image.ClusterBits)
            : !IsReferredTo((long)cluster << _image.ClusterBits));

    /// <summary>
    /// Whether nothing is stored there. What nobody refers to may still be what somebody looks for after a crash, and is left alone
    /// where there is other room.
    /// </summary>
    private bool IsHole(long offset)
    {
        if (offset < _rangeStart || offset >= _range.End)
            (_rangeStart, _range) = (offset, _image.File.FindRange(offset));
        return _range.IsHole && _range.End - _image.ClusterSize >= offset;
    }

    /// <summary>Damaged entries point behind the end of the file: what is put there would become theirs.</summary>
    private bool IsReferredTo(long offset)
    {
        foreach (var (start, end) in _outside)
        {
            if (start < offset + _image.ClusterSize && end > offset)
                return true;
        }

        return false;
    }

    private void Keep(long offset, long length)
    {
        if (offset < 0 || offset >= _image.FileLength)
            return;
        var last = (Math.Min(offset + length, _image.FileLength) - 1) >> _image.ClusterBits;
        for (var cluster = offset >> _image.ClusterBits; cluster <= last; cluster++)
            _taken.Add((int)cluster);
    }
}
