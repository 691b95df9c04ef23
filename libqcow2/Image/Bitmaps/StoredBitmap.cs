using System;
using System.Buffers.Binary;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Bitmaps;

/// <summary>Where a bitmap is in the file: its table, in memory, and the clusters of data that it names.</summary>
internal sealed class StoredBitmap
{
    /// <summary>Bytes of tables and data that are moved at once: the home loop has other things to do.</summary>
    private const int PieceBytes = 256 * 1024;

    private readonly ulong[] _table;

    private StoredBitmap(string name, BitmapShape shape, HostOffset tableOffset, ulong[] table) =>
        (Name, Shape, TableOffset, _table) = (name, shape, tableOffset, table);

    public string Name { get; }

    public BitmapShape Shape { get; }

    public HostOffset TableOffset { get; set; }

    public int Clusters => _table.Length;

    public ulong this[int index]
    {
        get => _table[index];
        set => _table[index] = value;
    }

    /// <summary>A new one, all of whose bits are 0.</summary>
    public static StoredBitmap New(string name, BitmapShape shape, int clusterBits) =>
        new(name, shape, default, new ulong[shape.Clusters(clusterBits)]);

    /// <summary>Reads the table of an entry.</summary>
    /// <returns>0, or a negative errno</returns>
    /// <exception cref="ImageFormatException">the table is damaged, or does not fit the disk</exception>
    public static async LoopTask<(int Error, StoredBitmap? Bitmap)> LoadAsync(
        IBlockStorage file, BitmapEntry entry, long diskSize, int clusterBits)
    {
        var shape = new BitmapShape(diskSize, entry.GranularityBits);
        RefuseMisfit(file, entry, shape, clusterBits);
        var table = new ulong[entry.TableSize];
        var pool = LoopScheduler.Current.Buffers;
        var piece = pool.Rent((int)Math.Min(PieceBytes, (long)table.Length * sizeof(ulong)));
        var error = 0;
        for (var done = 0; done < table.Length && error == 0; done += piece.Length / sizeof(ulong))
        {
            var count = Math.Min(piece.Length / sizeof(ulong), table.Length - done);
            error = await file.ReadAsync(entry.TableOffset.Value + ((long)done * sizeof(ulong)), piece.Slice(0, count * sizeof(ulong)));
            for (var index = 0; index < count && error == 0; index++)
                table[done + index] = BinaryPrimitives.ReadUInt64BigEndian(piece.Span[(index * sizeof(ulong))..]);
        }

        pool.Return(piece);
        if (error < 0)
            return (error, null);
        for (var index = 0; index < table.Length; index++)
            RefuseEntry(file, entry, index, table[index], clusterBits);
        return (0, new StoredBitmap(entry.Name, shape, entry.TableOffset, table));
    }

    /// <summary>Reads all bits.</summary>
    /// <param name="file">of the image</param>
    /// <param name="bits">where they go; all 0 before</param>
    /// <param name="clusterBits">of the image</param>
    public async LoopTask<int> ReadBitsAsync(IBlockStorage file, DirtyBitmap bits, int clusterBits)
    {
        var pool = LoopScheduler.Current.Buffers;
        var piece = pool.Rent((int)Math.Min(PieceBytes, 1L << clusterBits));
        var error = 0;
        for (var index = 0; index < _table.Length && error == 0; index++)
        {
            var start = (long)index << clusterBits;
            var length = Math.Min(1L << clusterBits, Shape.Bytes - start);
            if (_table[index] == BitmapTableEntry.AllOnes)
                bits.Bytes.Slice((int)start, (int)length).Fill(0xff);
            var host = BitmapTableEntry.OffsetOf(_table[index]);
            for (long done = 0; host != 0 && done < length && error == 0; done += piece.Length)
            {
                // Whole units of what the file takes; what is past the end of the bits is not looked at.
                var count = (int)Math.Min(piece.Length, length - done);
                error = await file.ReadAsync(host + done, piece);
                if (error == 0)
                    piece.Span[..count].CopyTo(bits.Bytes[(int)(start + done)..]);
            }
        }

        pool.Return(piece);
        bits.ClearTail();
        return error;
    }

    /// <summary>Writes table entries where the table is.</summary>
    public async LoopTask<int> WriteTableAsync(IBlockStorage file, int first, int end, int unit)
    {
        var pool = LoopScheduler.Current.Buffers;
        var perUnit = unit / sizeof(ulong);
        var start = first / perUnit * perUnit;
        var piece = pool.Rent(PieceBytes);
        var error = 0;
        while (start < end && error == 0)
        {
            var length = Math.Min(piece.Length, Rounding.Up((long)(end - start) * sizeof(ulong), unit));
            var part = piece.Slice(0, (int)length);
            part.Clear();
            for (var index = 0; index < part.Length / sizeof(ulong) && start + index < _table.Length; index++)
                BinaryPrimitives.WriteUInt64BigEndian(part.Span[(index * sizeof(ulong))..], _table[start + index]);
            error = await file.WriteAsync(TableOffset.Value + ((long)start * sizeof(ulong)), part);
            start += part.Length / sizeof(ulong);
        }

        pool.Return(piece);
        return error;
    }

    private static void RefuseMisfit(IBlockStorage file, BitmapEntry entry, BitmapShape shape, int clusterBits)
    {
        var needed = shape.Clusters(clusterBits);
        if (entry.TableSize != needed)
        {
            throw Bad(file, "bitmap_table_size",
                $"bitmap_table_size {entry.TableSize} of bitmap \"{entry.Name}\" does not fit the disk, which needs {needed}");
        }

        if ((long)entry.TableSize << clusterBits > Limits.MaxBitmapDataBytes)
        {
            throw Bad(file, "bitmap_table_size",
                $"bitmap \"{entry.Name}\" has {(long)entry.TableSize << clusterBits} bytes of data, at most {Limits.MaxBitmapDataBytes}");
        }

        if (entry.TableOffset.Value > file.Length - ((long)entry.TableSize * sizeof(ulong)))
        {
            throw Bad(file, "bitmap_table_offset",
                $"table of bitmap \"{entry.Name}\" at {entry.TableOffset} ends past the end of the file (size {file.Length})");
        }
    }

    private static void RefuseEntry(IBlockStorage file, BitmapEntry entry, int index, ulong raw, int clusterBits)
    {
        var offset = BitmapTableEntry.OffsetOf(raw);
        if (!BitmapTableEntry.TryDecode(raw, 1 << clusterBits, out _))
            throw Bad(file, "bitmap_table", $"entry {index} of the table of bitmap \"{entry.Name}\" is 0x{raw:x}, which is invalid");
        if (offset != 0 && offset > file.Length - (1L << clusterBits))
        {
            throw Bad(file, "bitmap_table",
                $"entry {index} of the table of bitmap \"{entry.Name}\" points to 0x{offset:x}, past the end of the file"
                    + $" (size {file.Length})");
        }
    }

    private static ImageFormatException Bad(IBlockStorage file, string field, string why) => new(file.Path, field, why);
}
