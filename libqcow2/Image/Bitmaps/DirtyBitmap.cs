using System;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Threading;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Bitmaps;

/// <summary>
/// The bits of one bitmap, in memory as the format has them on disk: bit i is bit i % 8 of byte i / 8. Any thread may look at bits and
/// set them; only one at a time may do anything else.
/// </summary>
internal sealed class DirtyBitmap : IDisposable
{
    private readonly BitmapMemory _memory;
    private readonly int _granularityBits;

    /// <param name="shape">how large it is</param>
    /// <param name="memory">for its bits; belongs to it from now on</param>
    public DirtyBitmap(BitmapShape shape, BitmapMemory memory)
    {
        (Shape, _memory, _granularityBits) = (shape, memory, shape.GranularityBits);
        Invariant.Holds(memory.Buffer.Length >= shape.Bytes, "a bitmap has memory for each bit", memory.Buffer.Length, shape.Bytes);
    }

    public BitmapShape Shape { get; }

    /// <summary>The bytes as they are stored, and zeroes up to whole pages.</summary>
    public Span<byte> Bytes => _memory.Buffer.Span;

    private Span<ulong> Words => MemoryMarshal.Cast<byte, ulong>(_memory.Buffer.Span);

    /// <summary>How many bits are set.</summary>
    public long Count
    {
        get
        {
            long count = 0;
            foreach (var word in Words)
                count += BitOperations.PopCount(word);
            return count;
        }
    }

    /// <summary>Bytes of the disk that the set bits stand for: what is past its end does not count.</summary>
    public long DirtyBytes
    {
        get
        {
            var bytes = Count << _granularityBits;
            var tail = Shape.DiskSize & ((1L << _granularityBits) - 1);
            return tail != 0 && IsSet(Shape.Bits - 1) ? bytes - (1L << _granularityBits) + tail : bytes;
        }
    }

    public bool IsSet(long bit) => (Volatile.Read(ref Words[(int)(bit >> 6)]) & (1UL << (int)(bit & 63))) != 0;

    /// <summary>The first bit in a range that is not set; <paramref name="end"/> if all are. Any thread.</summary>
    public long FindClear(long bit, long end) => Find(bit, end, ulong.MaxValue);

    /// <summary>The first bit in a range that is set; <paramref name="end"/> if none is. Any thread.</summary>
    public long FindSet(long bit, long end) => Find(bit, end, 0);

    /// <summary>The bits that stand for a range of the disk.</summary>
    public (long First, long End) BitsOf(long offset, long length) =>
        length == 0 ? (0, 0) : (offset >> _granularityBits, ((offset + length - 1) >> _granularityBits) + 1);

    /// <summary>Sets bits. Any thread, also several at a time.</summary>
    public void Set(long first, long end)
    {
        var words = Words;
        while (first < end)
        {
            var mask = MaskFrom(first, end);
            ref var word = ref words[(int)(first >> 6)];
            if ((Volatile.Read(ref word) & mask) != mask)
                Interlocked.Or(ref word, mask);
            first = (first | 63) + 1;
        }
    }

    public void Clear() => Bytes.Clear();

    /// <summary>All bits as they are now, in memory of its own. Those that others set meanwhile may be in it or not.</summary>
    public DirtyBitmap Copy()
    {
        var copy = new DirtyBitmap(Shape, BitmapMemory.OfProcess(Shape.Bits));
        Bytes[..(int)Shape.Bytes].CopyTo(copy.Bytes);
        return copy;
    }

    /// <summary>What the disk at <paramref name="offset"/> is, and how far it goes on so.</summary>
    /// <param name="offset">on the disk</param>
    /// <param name="length">how far to look at most</param>
    public (bool IsDirty, long Length) RunAt(long offset, long length)
    {
        var (first, end) = BitsOf(offset, length);
        end = Math.Min(end, Shape.Bits);

        // The disk may have grown since: nothing is known of what is past the end, so it counts as written.
        if (first >= end)
            return (true, length);
        var isDirty = IsSet(first);
        var stop = isDirty ? FindClear(first, end) : FindSet(first, end);
        return (isDirty, Math.Min((stop << _granularityBits) - offset, length));
    }

    /// <summary>Sets every bit that stands for what a set bit of the other stands for; granularities may differ.</summary>
    public void Merge(DirtyBitmap other)
    {
        var bits = other.Shape.Bits;
        for (var bit = other.FindSet(0, bits); bit < bits; bit = other.FindSet(bit, bits))
        {
            var end = other.FindClear(bit, bits);
            var offset = bit << other._granularityBits;
            var length = Math.Min(end << other._granularityBits, Math.Min(other.Shape.DiskSize, Shape.DiskSize)) - offset;
            if (length <= 0)
                return;
            var (first, last) = BitsOf(offset, length);
            Set(first, last);
            bit = end;
        }
    }

    /// <summary>Bits past the end of the disk stand for nothing, and are 0.</summary>
    public void ClearTail()
    {
        var bits = Shape.Bits;
        var bytes = Bytes;
        if ((bits & 7) != 0)
            bytes[(int)(bits >> 3)] &= (byte)((1 << (int)(bits & 7)) - 1);
        bytes[(int)Shape.Bytes..].Clear();
    }

    public void Dispose() => _memory.Dispose();

    /// <param name="bit">where to begin</param>
    /// <param name="end">where to stop</param>
    /// <param name="skip">words like this have nothing of what is looked for</param>
    private long Find(long bit, long end, ulong skip)
    {
        var words = Words;
        while (bit < end)
        {
            var found = (Volatile.Read(ref words[(int)(bit >> 6)]) ^ skip) >> (int)(bit & 63);
            if (found != 0)
                return Math.Min(bit + BitOperations.TrailingZeroCount(found), end);
            bit = (bit | 63) + 1;
        }

        return end;
    }

    private static ulong MaskFrom(long first, long end)
    {
        var mask = ulong.MaxValue << (int)(first & 63);
        return end >= (first | 63) + 1 ? mask : mask & ~(ulong.MaxValue << (int)(end & 63));
    }
}
