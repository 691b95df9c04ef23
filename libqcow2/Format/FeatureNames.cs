using System;
using System.Collections.Generic;
using System.Text;

namespace Qcow2Blk.Format;

/// <summary>Which of the three feature fields a bit belongs to; the values are those of the feature name table.</summary>
internal enum FeatureKind : byte
{
    Incompatible = 0,
    Compatible = 1,
    Autoclear = 2,
}

/// <summary>
/// What feature bits are called: our names for those we know, and those that the image brings along (specification,
/// "Feature name table") for the rest.
/// </summary>
internal sealed class FeatureNames
{
    /// <summary>Byte 0 type, byte 1 bit number, bytes 2 to 47 the name, zero padded.</summary>
    private const int EntryLength = 48;

    /// <summary>In the order in which qemu writes them.</summary>
    private static readonly OrderedDictionary<(FeatureKind Kind, int Bit), string> s_builtIn = new()
    {
        [(FeatureKind.Incompatible, 0)] = "dirty bit",
        [(FeatureKind.Incompatible, 1)] = "corrupt bit",
        [(FeatureKind.Incompatible, 2)] = "external data file",
        [(FeatureKind.Incompatible, 3)] = "compression type",
        [(FeatureKind.Incompatible, 4)] = "extended L2 entries",
        [(FeatureKind.Compatible, 0)] = "lazy refcounts",
        [(FeatureKind.Autoclear, 0)] = "bitmaps",
        [(FeatureKind.Autoclear, 1)] = "raw external data",
    };

    private readonly Dictionary<(FeatureKind, int), string> _fromImage = [];

    /// <summary>The image's entries for bits that have no meaning, as they are stored.</summary>
    private readonly SortedDictionary<(FeatureKind, int), byte[]> _foreign = [];

    internal FeatureNames(ReadOnlySpan<byte> table)
    {
        for (; table.Length >= EntryLength; table = table[EntryLength..])
        {
            if (table[0] > (byte)FeatureKind.Autoclear || table[1] > 63)
                continue;
            var name = table[2..EntryLength];
            var end = name.IndexOf((byte)0);
            if (end == 0)
                continue;
            var bit = ((FeatureKind)table[0], table[1]);
            _fromImage[bit] = Encoding.UTF8.GetString(end < 0 ? name : name[..end]);
            if (!s_builtIn.ContainsKey(bit))
                _foreign[bit] = table[..EntryLength].ToArray();
        }
    }

    /// <summary>The table as it is written: every bit that has a meaning, as qemu has them, then those that only the image names.</summary>
    internal byte[] Encode()
    {
        var table = new byte[(s_builtIn.Count + _foreign.Count) * EntryLength];
        var rest = table.AsSpan();
        foreach (var ((kind, bit), name) in s_builtIn)
        {
            rest[0] = (byte)kind;
            rest[1] = (byte)bit;
            Encoding.UTF8.GetBytes(name, rest[2..EntryLength]);
            rest = rest[EntryLength..];
        }

        foreach (var entry in _foreign.Values)
        {
            entry.CopyTo(rest);
            rest = rest[EntryLength..];
        }

        return table;
    }

    /// <summary>The name of a bit: ours, else the image's, else <c>bit N</c>.</summary>
    public string NameOf(FeatureKind kind, int bit) =>
        s_builtIn.TryGetValue((kind, bit), out var name) || _fromImage.TryGetValue((kind, bit), out name)
            ? name
            : $"bit {bit}";

    /// <summary>The names of all bits set in <paramref name="bits"/>, lowest first; bits that only the image names come with their
    /// number.</summary>
    public IReadOnlyList<string> NamesOf(FeatureKind kind, ulong bits)
    {
        var names = new List<string>();
        for (var bit = 0; bit < 64; bit++)
        {
            if ((bits >> bit & 1) == 0)
                continue;
            var foreign = !s_builtIn.ContainsKey((kind, bit)) && _fromImage.ContainsKey((kind, bit));
            names.Add(foreign ? $"{NameOf(kind, bit)} (bit {bit})" : NameOf(kind, bit));
        }

        return names;
    }
}
