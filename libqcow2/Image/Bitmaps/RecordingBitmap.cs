using System;
using System.Numerics;
using System.Threading;
using Qcow2Blk.Format;

namespace Qcow2Blk.Image.Bitmaps;

/// <summary>
/// A bitmap that follows what is written. On disk its bits are a superset of those in memory, at any moment and after any power cut:
/// before the first bit of a region is set, all bits of the region are set on disk. A region that this was done for is open: bits in it
/// cost nothing more until the exact ones are stored.
/// </summary>
internal sealed class RecordingBitmap : IDisposable
{
    /// <summary>How often at most a whole disk makes a write wait for a sync, if every region is written once.</summary>
    private const int RegionsOfDisk = 4096;

    private readonly ulong[] _open;
    private readonly int _regionBits;

    /// <param name="stored">where it is</param>
    /// <param name="bits">what it holds</param>
    /// <param name="clusterBits">of the image</param>
    /// <param name="smallestRegion">bytes of the disk that a region has at least</param>
    public RecordingBitmap(StoredBitmap stored, DirtyBitmap bits, int clusterBits, long smallestRegion)
    {
        (Stored, Bits) = (stored, bits);
        _regionBits = RegionBits(bits.Shape, clusterBits, smallestRegion);
        _open = new ulong[(Regions + 63) / 64];
    }

    public StoredBitmap Stored { get; }

    public DirtyBitmap Bits { get; }

    /// <summary>How many regions there are.</summary>
    public long Regions => (Bits.Shape.Bits >> _regionBits) + 1;

    /// <summary>Whether something on disk is not as it is here.</summary>
    public bool IsOpened { get; private set; }

    /// <summary>Bits of a region: at least a word, at most those of a cluster of bitmap data, and whole ones of those.</summary>
    private static int RegionBits(BitmapShape shape, int clusterBits, long smallest)
    {
        var bytes = BitOperations.RoundUpToPowerOf2((ulong)Math.Max(shape.DiskSize / RegionsOfDisk, smallest));
        return int.Clamp(BitOperations.Log2(bytes) - shape.GranularityBits, 6, clusterBits + 3);
    }

    /// <summary>
    /// Sets the bits of a range if that needs nothing on disk. Any thread. If it says no, it may have set some of them, which does no harm.
    /// </summary>
    public bool TryTouch(long offset, long length)
    {
        var (bit, end) = Bits.BitsOf(offset, length);
        while ((bit = Bits.FindClear(bit, end)) < end)
        {
            var region = bit >> _regionBits;
            if (!IsOpen(region))
                return false;
            var stop = Math.Min(end, (region + 1) << _regionBits);
            Bits.Set(bit, stop);
            bit = stop;
        }

        return true;
    }

    /// <summary>The next region, from this one on, that has to be opened before a range can be touched.</summary>
    /// <returns>-1 if there is none</returns>
    public long NextShut(long offset, long length, long region)
    {
        var (first, end) = Bits.BitsOf(offset, length);
        var bit = Math.Max(first, region << _regionBits);
        while ((bit = Bits.FindClear(bit, end)) < end)
        {
            if (!IsOpen(bit >> _regionBits))
                return bit >> _regionBits;
            bit = ((bit >> _regionBits) + 1) << _regionBits;
        }

        return -1;
    }

    public bool IsOpen(long region) => (Volatile.Read(ref _open[region >> 6]) & (1UL << (int)(region & 63))) != 0;

    /// <summary>All bits of the region are set on disk.</summary>
    public void Open(long region)
    {
        IsOpened = true;
        Interlocked.Or(ref _open[region >> 6], 1UL << (int)(region & 63));
    }

    /// <summary>On disk are the bits as they are here.</summary>
    public void ShutAll()
    {
        IsOpened = false;
        Array.Clear(_open);
    }

    /// <summary>The bytes of the region, of the bitmap's data.</summary>
    public (long Start, long Length) BytesOf(long region) => (region << (_regionBits - 3), 1L << (_regionBits - 3));

    /// <summary>What disk is to hold while regions are open.</summary>
    /// <param name="start">of the bytes wanted, in the bitmap's data; on a boundary of words</param>
    /// <param name="target">where they go</param>
    /// <param name="alsoOpen">a region that is about to be opened counts as open</param>
    public void CopyWide(long start, Span<byte> target, Predicate<long> alsoOpen)
    {
        CopyExact(Bits, start, target);
        var bits = Bits.Shape.Bits;
        var first = (start << 3) >> _regionBits;
        var last = (Math.Min((start + target.Length) << 3, bits) - 1) >> _regionBits;
        for (var region = first; region <= last; region++)
        {
            if (!IsOpen(region) && !alsoOpen(region))
                continue;
            var (from, length) = BytesOf(region);
            var begin = Math.Max(from, start);
            var end = Math.Min(Math.Min(from + length, start + target.Length), Bits.Shape.Bytes);
            if (end > begin)
                target[(int)(begin - start)..(int)(end - start)].Fill(0xff);
        }

        ClearTail(start, target);
    }

    /// <summary>The bits as they are.</summary>
    public static void CopyExact(DirtyBitmap bits, long start, Span<byte> target)
    {
        var bytes = bits.Bytes;
        var length = (int)Math.Clamp(bytes.Length - start, 0, target.Length);
        if (length > 0)
            bytes.Slice((int)start, length).CopyTo(target);
        target[length..].Clear();
    }

    public void Dispose() => Bits.Dispose();

    private void ClearTail(long start, Span<byte> target)
    {
        var bits = Bits.Shape.Bits;
        var last = (bits >> 3) - start;
        if ((bits & 7) != 0 && last >= 0 && last < target.Length)
            target[(int)last] &= (byte)((1 << (int)(bits & 7)) - 1);
    }
}
