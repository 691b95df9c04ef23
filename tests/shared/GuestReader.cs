using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.IO.Compression;
using Qcow2Blk.Tests.Shared.Simulation;

namespace Qcow2Blk.Tests.Shared;

/// <summary>
/// Reads the disk in an image by the letter of the specification and nothing of ours: what crash images are judged by.
/// Plain, zero and zlib-compressed clusters, subclusters, over a backing disk or none.
/// </summary>
internal sealed class GuestReader
{
    private const ulong OffsetMask = 0x00FFFFFFFFFFFE00;

    private readonly IImageBytes _image;
    private readonly IImageBytes _data;
    private readonly GuestReader? _backing;
    private readonly byte[] _inflated;
    private readonly int _clusterBits;
    private readonly bool _extended;
    private readonly long _l1;
    private long _inflatedEntry = -1;

    /// <param name="image">the file</param>
    /// <param name="backing">what is below it</param>
    /// <param name="data">the file as guest data is read from it: decrypted; null for as it is</param>
    public GuestReader(IImageBytes image, GuestReader? backing = null, IImageBytes? data = null)
    {
        _image = image;
        _data = data ?? image;
        _backing = backing;
        _clusterBits = (int)(U64(16) & uint.MaxValue);
        Size = (long)U64(24);
        _l1 = (long)U64(40);
        _extended = U64(0) >> 32 == 0x514649fb && (U64(0) & uint.MaxValue) >= 3 && (U64(72) & 16) != 0;
        _inflated = new byte[1 << _clusterBits];
    }

    private GuestReader(GuestReader active, long l1, long size)
        : this(active._image, active._backing, active._data) => (_l1, Size) = (l1, size);

    public long Size { get; }

    /// <summary>The disks of the internal snapshots, in the order of the snapshot table.</summary>
    public IReadOnlyList<GuestReader> Snapshots()
    {
        var snapshots = new List<GuestReader>();
        var at = (long)U64(64);
        for (var left = U64(60) >> 32; left > 0; left--)
        {
            // l1_table_offset, l1_size, id_str_size and name_size; extra_data_size in bytes 36 to 39; the disk size is its second word.
            var extra = (long)(U64(at + 32) & uint.MaxValue);
            snapshots.Add(new GuestReader(this, (long)U64(at), extra >= 16 ? (long)U64(at + 48) : Size));
            var names = (long)((U64(at + 8) >> 16 & ushort.MaxValue) + (U64(at + 8) & ushort.MaxValue));
            at = (at + 40 + extra + names + 7) & ~7L;
        }

        return snapshots;
    }

    public void Read(long offset, Span<byte> into)
    {
        while (into.Length > 0)
        {
            var within = (int)(offset & ((1L << _clusterBits) - 1));
            var grain = 1 << (_extended ? _clusterBits - 5 : _clusterBits);
            var piece = into[..Math.Min(into.Length, grain - (within & (grain - 1)))];
            ReadInCluster(offset, within, piece);
            into = into[piece.Length..];
            offset += piece.Length;
        }
    }

    public byte[] ReadAll()
    {
        var all = new byte[Size];
        Read(0, all);
        return all;
    }

    private void ReadInCluster(long offset, int within, Span<byte> into)
    {
        var (entry, bitmap) = offset < Size ? Lookup(offset >> _clusterBits) : (0, 0);
        if (_extended && (entry & (1UL << 62)) == 0)
        {
            ReadSubcluster(entry, bitmap, offset, within, into);
            return;
        }

        if ((entry & (1UL << 62)) != 0)
            Inflate(entry).AsSpan(within, into.Length).CopyTo(into);
        else if ((entry & 1) != 0)
            into.Clear();
        else if ((entry & OffsetMask) != 0)
            _data.Read((long)(entry & OffsetMask) + within, into);
        else
            ReadBacking(offset, into);
    }

    private void ReadSubcluster(ulong entry, ulong bitmap, long offset, int within, Span<byte> into)
    {
        var subcluster = within >> (_clusterBits - 5);
        if ((bitmap >> (32 + subcluster) & 1) != 0)
            into.Clear();
        else if ((bitmap >> subcluster & 1) != 0)
            _data.Read((long)(entry & OffsetMask) + within, into);
        else
            ReadBacking(offset, into);
    }

    private void ReadBacking(long offset, Span<byte> into)
    {
        var count = (int)Math.Clamp((_backing?.Size ?? 0) - offset, 0, into.Length);
        if (count > 0)
            _backing!.Read(offset, into[..count]);
        into[count..].Clear();
    }

    private (ulong Descriptor, ulong Bitmap) Lookup(long cluster)
    {
        var bytes = _extended ? 16 : 8;
        var entries = (1 << _clusterBits) / bytes;
        var table = (long)(U64(_l1 + cluster / entries * 8) & OffsetMask);
        if (table == 0)
            return (0, 0);
        var at = table + cluster % entries * bytes;
        return (U64(at), _extended ? U64(at + 8) : 0);
    }

    private byte[] Inflate(ulong entry)
    {
        if (_inflatedEntry == (long)entry)
            return _inflated;
        var x = 62 - (_clusterBits - 8);
        var start = (long)(entry & ((1UL << x) - 1));
        var length = (int)(((entry & ~(3UL << 62)) >> x) + 1) * 512 - (int)(start & 511);
        var packed = new byte[length];
        _image.Read(start, packed);
        using var stream = new DeflateStream(new MemoryStream(packed), CompressionMode.Decompress);
        stream.ReadExactly(_inflated);
        _inflatedEntry = (long)entry;
        return _inflated;
    }

    private ulong U64(long offset)
    {
        Span<byte> bytes = stackalloc byte[8];
        _image.Read(offset, bytes);
        return BinaryPrimitives.ReadUInt64BigEndian(bytes);
    }
}
