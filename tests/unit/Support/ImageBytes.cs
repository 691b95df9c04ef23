using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using Qcow2Blk.Format;

namespace Qcow2Blk.Tests.Support;

/// <summary>A small image file read whole, to look at its metadata and to damage it.</summary>
internal sealed class ImageBytes
{
    public ImageBytes(string path)
    {
        Path = path;
        Bytes = File.ReadAllBytes(path);
    }

    public string Path { get; }

    public byte[] Bytes { get; set; }

    public Header Header => Header.Parse(Bytes.AsSpan(0, Math.Min(Bytes.Length, Header.MaxParseBytes)), Path);

    public uint U32(int offset) => BinaryPrimitives.ReadUInt32BigEndian(Bytes.AsSpan(offset));

    public ulong U64(long offset) => BinaryPrimitives.ReadUInt64BigEndian(Bytes.AsSpan((int)offset));

    public void Put32(int offset, uint value) => BinaryPrimitives.WriteUInt32BigEndian(Bytes.AsSpan(offset), value);

    public void Put64(long offset, ulong value) => BinaryPrimitives.WriteUInt64BigEndian(Bytes.AsSpan((int)offset), value);

    /// <summary>One cluster; what is past the end of the file is zero.</summary>
    public byte[] Cluster(HostOffset offset, int clusterSize)
    {
        var cluster = new byte[clusterSize];
        var length = (int)Math.Clamp(Bytes.LongLength - offset.Value, 0, clusterSize);
        Bytes.AsSpan((int)offset.Value, length).CopyTo(cluster);
        return cluster;
    }

    /// <summary>The raw L2 entries that are not 0, by guest cluster, through any L1 table.</summary>
    public IEnumerable<(long GuestCluster, ulong Raw)> L2Entries(HostOffset l1Table, int l1Size)
    {
        var geometry = new Geometry(Header);
        for (var i = 0; i < l1Size; i++)
        {
            var l1 = L1Entry.Decode(U64(l1Table.Value + i * 8L));
            if (l1.IsEmpty)
                continue;
            for (var j = 0; j < geometry.L2Entries; j++)
            {
                var raw = U64(l1.Offset.Value + j * 8L);
                if (raw != 0)
                    yield return ((long)i << geometry.L2Bits | (long)j, raw);
            }
        }
    }

    public void Save() => File.WriteAllBytes(Path, Bytes);
}
