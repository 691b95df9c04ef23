using System;
using System.Collections.Generic;
using System.Linq;

namespace Qcow2Blk.Tests.Interop.Matrix;

/// <summary>One combination of what an image can be: a value of each dimension.</summary>
internal sealed class ImageCase
{
    /// <summary>The dimensions and their values. The name of a case has the values that are not the first.</summary>
    public static readonly (string Name, string[] Values)[] Dimensions =
    [
        ("version", ["3", "2"]),
        ("cluster", ["64k", "512", "4k", "16k", "2M"]),
        ("refcount", ["16", "1", "8", "64"]),
        ("extended", ["off", "on"]),
        ("data", ["none", "plain", "raw"]),
        ("encryption", ["none", "luks"]),
        ("compression", ["none", "zlib", "zstd"]),
        ("backing", ["none", "raw", "qcow2", "compressed", "shorter"]),
        ("snapshots", ["none", "two"]),
        ("bitmaps", ["none", "one"]),
        ("preallocation", ["off", "metadata", "falloc", "full"]),
        ("lazy", ["off", "on"]),
        ("maker", ["qemu-img", "qcow2blk"]),
    ];

    private readonly int[] _values;

    public ImageCase(int[] values) => _values = values;

    public IReadOnlyList<int> Values => _values;

    public string this[string dimension]
    {
        get
        {
            var index = Array.FindIndex(Dimensions, candidate => candidate.Name == dimension);
            return Dimensions[index].Values[_values[index]];
        }
    }

    public string Name
    {
        get
        {
            var unusual = Dimensions.Where((_, index) => _values[index] != 0)
                .Select(dimension => $"{dimension.Name}={this[dimension.Name]}");
            return string.Join(' ', unusual.DefaultIfEmpty("plain"));
        }
    }

    /// <summary>qemu's rules: what excludes each other.</summary>
    public bool IsPossible
    {
        get
        {
            var hasData = this["data"] != "none";
            var compresses = this["compression"] != "none";
            var preallocates = this["preallocation"] != "off";
            if (this["version"] == "2" && (this["refcount"] != "16" || this["extended"] == "on" || hasData || this["lazy"] == "on"
                || this["compression"] == "zstd" || this["bitmaps"] != "none"))
            {
                return false;
            }

            if (this["extended"] == "on" && this["cluster"] is "512" or "4k")
                return false;
            if (this["refcount"] == "1" && this["snapshots"] != "none")
                return false;
            if (hasData && (compresses || this["snapshots"] != "none"))
                return false;
            if (this["data"] == "raw" && this["backing"] != "none")
                return false;
            if (preallocates && (compresses || (this["backing"] != "none" && this["extended"] == "off")))
                return false;
            return !(compresses && this["encryption"] != "none");
        }
    }

    public override string ToString() => Name;
}
