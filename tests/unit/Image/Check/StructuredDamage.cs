using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Linq;

namespace Qcow2Blk.Tests.Image.Check;

/// <summary>Knows where the structures of a sound image are, and harms some of them.</summary>
internal sealed class StructuredDamage
{
    private const ulong OffsetMask = 0x00FFFFFFFFFFFE00;
    private const ulong Compressed = 1UL << 62;

    private readonly byte[] _sound;
    private readonly int _clusterSize;
    private readonly int _entryBytes;
    private readonly List<(string Name, List<int> Words)> _structures = [];

    public StructuredDamage(byte[] sound)
    {
        _sound = sound;
        _clusterSize = 1 << (int)U32(20);
        var isVersion3 = U32(4) == 3;
        _entryBytes = isVersion3 && (U64(72) & 16) != 0 ? 16 : 8;
        Add("header", [24, 32, 40, 48, 56, 60, 64, .. isVersion3 ? (int[])[72, 80, 88, 96] : []]);
        Table("L1", U64(40), U32(36), "L2");
        Refcounts();
        Snapshots();
        if (isVersion3)
            Bitmaps();
    }

    /// <summary>Structures that there are in this image.</summary>
    public IEnumerable<string> Names => _structures.Select(structure => structure.Name);

    /// <summary>Harms a copy of the image in one to three places.</summary>
    /// <returns>the bytes, and what was done</returns>
    public (byte[] Bytes, string What) Apply(Random random)
    {
        var bytes = (byte[])_sound.Clone();
        var what = new List<string>();
        for (var places = 1 + (random.Next(3) == 0 ? random.Next(3) : 0); places > 0; places--)
        {
            var (name, words) = _structures[random.Next(_structures.Count)];
            what.Add(Harm(bytes, name, words[random.Next(words.Count)], random));
        }

        return (bytes, string.Join(", ", what));
    }

    private string Harm(byte[] bytes, string name, int at, Random random)
    {
        var before = BinaryPrimitives.ReadUInt64BigEndian(bytes.AsSpan(at));
        var cluster = (ulong)_clusterSize;
        var clusters = (ulong)(_sound.Length / _clusterSize);
        var after = random.Next(12) switch
        {
            0 => before ^ (1UL << 63),
            1 => 0UL,
            2 => before ^ (1UL << random.Next(0, 9)),
            3 => before ^ (1UL << random.Next(9, 30)),
            4 => (before & ~OffsetMask) | 0x7FFF_FFFF_0000,
            5 => before ^ Compressed,
            6 => (before & ~OffsetMask) | (cluster * (ulong)random.NextInt64((long)clusters)),
            7 => (before & ~OffsetMask) | (clusters + (ulong)random.Next(3)) * cluster,
            8 => before + cluster,
            9 => (ulong)random.NextInt64() << 1,
            10 => before ^ ((ulong)random.Next(1, 256) << 8 * random.Next(8)),
            _ => before ^ (1UL << random.Next(64)),
        };
        BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(at), after);
        return $"{name} at 0x{at:x}: 0x{before:x} -> 0x{after:x}";
    }

    private void Table(string name, ulong offset, uint entries, string below)
    {
        var used = new List<int>();
        for (var index = 0; index < entries; index++)
        {
            var at = (int)offset + index * 8;
            if (at + 8 > _sound.Length)
                break;
            if (U64(at) == 0)
                continue;
            used.Add(at);
            L2(below, (int)(U64(at) & OffsetMask));
        }

        Add(name, used.Count > 0 ? used : [(int)offset]);
    }

    private void L2(string name, int table)
    {
        var words = new List<int>();
        var compressed = new List<int>();
        var subclusters = new List<int>();
        for (var at = table; at < Math.Min(table + _clusterSize, _sound.Length - 8); at += _entryBytes)
        {
            if (U64(at) == 0 && (_entryBytes == 8 || U64(at + 8) == 0))
                continue;
            ((U64(at) & Compressed) != 0 ? compressed : words).Add(at);
            if (_entryBytes == 16)
                subclusters.Add(at + 8);
        }

        Add(name, words);
        Add(name + " compressed", compressed);
        Add(name + " subclusters", subclusters);
    }

    private void Refcounts()
    {
        var table = (int)U64(48);
        Add("refcount table", [table, table + 8]);
        var block = (int)U64(table);
        if (block == 0)
            return;
        var order = U32(4) == 2 ? 4 : (int)U32(96);
        var bytes = Math.Min(_clusterSize, (_sound.Length / _clusterSize << order) / 8 + 8);
        Add("refcount block", [.. Enumerable.Range(0, Math.Max(1, bytes / 8)).Select(index => block + index * 8)]);
    }

    private void Snapshots()
    {
        var at = (int)U64(64);
        for (var index = 0; index < U32(60); index++)
        {
            Add("snapshot table", [at, at + 8, at + 32, at + 36]);
            Table("snapshot L1", U64(at), U32(at + 8), "snapshot L2");
            at += (40 + (int)U32(at + 36) + (int)U32(at + 12 - 2 + 2) / 65536 + (int)(U32(at + 12) & 0xFFFF) + 7) / 8 * 8;
        }
    }

    private void Bitmaps()
    {
        for (var at = (int)U32(100); U32(at) != 0 && at < _clusterSize - 32; at += 8 + (int)((U32(at + 4) + 7) & ~7U))
        {
            if (U32(at) != 0x23852875)
                continue;
            Add("bitmap extension", [at + 8, at + 16, at + 24]);
            var directory = (int)U64(at + 24);
            Add("bitmap directory", [directory, directory + 8, directory + 16]);
            Add("bitmap table", [(int)U64(directory)]);
        }
    }

    private void Add(string name, List<int> words)
    {
        words.RemoveAll(at => at < 0 || at + 8 > _sound.Length);
        if (words.Count > 0)
            _structures.Add((name, words));
    }

    private uint U32(int at) => BinaryPrimitives.ReadUInt32BigEndian(_sound.AsSpan(at));

    private ulong U64(int at) => BinaryPrimitives.ReadUInt64BigEndian(_sound.AsSpan(at));
}
