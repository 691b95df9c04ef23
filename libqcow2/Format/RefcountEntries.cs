using System;
using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;

namespace Qcow2Blk.Format;

/// <summary>
/// Entries of a refcount block (specification, "Refcount block entry"): 1 &lt;&lt; order bits each. "If refcount_bits
/// implies a sub-byte width, note that bit 0 means the least significant bit in this context": entry 0 is in the low
/// bits of byte 0. Wider ones are big endian.
/// </summary>
internal static class RefcountEntries
{
    /// <summary>The largest value an entry of this order holds.</summary>
    public static ulong Max(int order) => ulong.MaxValue >> (64 - (1 << order));

    /// <exception cref="ArgumentOutOfRangeException">the entry is not in the block, or the order is not 0..6</exception>
    public static ulong Get(ReadOnlySpan<byte> block, int index, int order)
    {
        switch (order)
        {
            case 4:
                return BinaryPrimitives.ReadUInt16BigEndian(block.Slice(checked(index * 2), 2));
            case 0 or 1 or 2:
                var shift = 3 - order;
                return (uint)block[index >> shift] >> BitInByte(index, order) & (uint)Max(order);
            case 3:
                return block[index];
            case 5:
                return BinaryPrimitives.ReadUInt32BigEndian(block.Slice(checked(index * 4), 4));
            case 6:
                return BinaryPrimitives.ReadUInt64BigEndian(block.Slice(checked(index * 8), 8));
            default:
                ThrowOrder(order);
                return 0;
        }
    }

    /// <exception cref="ArgumentOutOfRangeException">the value is more than <see cref="Max"/>, or as <see cref="Get"/></exception>
    public static void Set(Span<byte> block, int index, int order, ulong value)
    {
        if ((uint)order > Limits.MaxRefcountOrder)
            ThrowOrder(order);
        if (value > Max(order))
            throw new ArgumentOutOfRangeException(nameof(value), value, $"refcount does not fit in {1 << order} bits");
        switch (order)
        {
            case 0 or 1 or 2:
                ref var cell = ref block[index >> (3 - order)];
                var bit = BitInByte(index, order);
                cell = (byte)(cell & ~((int)Max(order) << bit) | (int)value << bit);
                break;
            case 3:
                block[index] = (byte)value;
                break;
            case 4:
                BinaryPrimitives.WriteUInt16BigEndian(block.Slice(checked(index * 2), 2), (ushort)value);
                break;
            case 5:
                BinaryPrimitives.WriteUInt32BigEndian(block.Slice(checked(index * 4), 4), (uint)value);
                break;
            default:
                BinaryPrimitives.WriteUInt64BigEndian(block.Slice(checked(index * 8), 8), value);
                break;
        }
    }

    /// <summary>The first entry that is 0 among <paramref name="count"/> from <paramref name="start"/> on.</summary>
    /// <returns>its index in the block, or -1</returns>
    /// <exception cref="ArgumentOutOfRangeException">the range is not in the block, or the order is not 0..6</exception>
    public static int IndexOfZero(ReadOnlySpan<byte> block, int start, int count, int order)
    {
        // Zero is zero in any byte order, so whole entries are compared as the machine reads them.
        var found = order switch
        {
            0 or 1 or 2 => IndexOfZeroInBytes(block, start, count, order),
            3 => block.Slice(start, count).IndexOf((byte)0),
            4 => MemoryMarshal.Cast<byte, ushort>(block).Slice(start, count).IndexOf((ushort)0),
            5 => MemoryMarshal.Cast<byte, uint>(block).Slice(start, count).IndexOf(0u),
            6 => MemoryMarshal.Cast<byte, ulong>(block).Slice(start, count).IndexOf(0ul),
            _ => throw new ArgumentOutOfRangeException(nameof(order), order, "refcount order must be 0..6"),
        };
        return found < 0 ? -1 : start + found;
    }

    /// <summary>For entries of less than a byte; returns an index relative to <paramref name="start"/>.</summary>
    private static int IndexOfZeroInBytes(ReadOnlySpan<byte> block, int start, int count, int order)
    {
        var perByte = 8 >> order;
        if (start < 0 || count < 0 || (long)start + count > (long)block.Length * perByte)
            throw new ArgumentOutOfRangeException(nameof(start), $"refcounts {start}+{count} in a block of {(long)block.Length * perByte}");

        var end = start + count;
        var index = start;
        while (index < end)
        {
            if (index % perByte == 0)
            {
                var position = index / perByte;
                index += FullBytes(block[position..((end + perByte - 1) / perByte)], order) * perByte;
                if (index >= end)
                    return -1;
            }

            if (Get(block, index, order) == 0)
                return index - start;
            index++;
        }

        return -1;
    }

    /// <summary>How many bytes at the start of the span, in steps of 8, hold no entry that is 0.</summary>
    private static int FullBytes(ReadOnlySpan<byte> bytes, int order)
    {
        // (v - low) & ~v & high is not 0 exactly if some entry of v is 0 (low: bit 0, high: top bit of every entry).
        var low = ulong.MaxValue / Max(order);
        var high = low << ((1 << order) - 1);
        var done = 0;
        for (; bytes.Length - done >= sizeof(ulong); done += sizeof(ulong))
        {
            var value = MemoryMarshal.Read<ulong>(bytes[done..]);
            if ((value - low & ~value & high) != 0)
                break;
        }

        return done;
    }

    private static int BitInByte(int index, int order) => (index & ((8 >> order) - 1)) << order;

    [DoesNotReturn]
    private static void ThrowOrder(int order) =>
        throw new ArgumentOutOfRangeException(nameof(order), order, "refcount order must be 0..6");
}
