using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;

namespace Qcow2Blk.Creation;

/// <summary>
/// Every option of <c>create</c> that has a name of qemu-img's. Values that no image can have are refused here, those that do not go
/// together in <see cref="CreateRules"/>.
/// </summary>
internal static class CreateOptionTable
{
    private static readonly SizeKind s_size = new(0, Limits.MaxFileBytes, "0 to 8191P");

    public static IReadOnlyList<CreateOption> All { get; } =
    [
        new("size", "SIZE", "size of the disk; may stand behind IMAGE instead",
            (o, text) => o.Size is null ? o with { Size = Size("size", text) }
                : throw CreateOption.Bad("size", text, "the size is given already", "give it once")),
        new("backing_file", "FILE", "the image below the new one, like --backing",
            (o, text) => o with { BackingFile = Name("backing_file", text) }),
        new("backing_fmt", "qcow2|raw", "its format, like --backing-format",
            (o, text) => o with { BackingFormat = Word("backing_fmt", text, ImageFormats.Words) }),
        new("compat", "1.1|0.10", "version of the format: 1.1 or v3, 0.10 or v2 for programs older than 2012",
            (o, text) => o with { Version = Version(text) }),
        new("cluster_size", "SIZE", "512 to 2M, a power of two [default: 64K]",
            (o, text) => o with { ClusterSize = ClusterSize(text) }),
        new("refcount_bits", "N", "width of a reference count: 1, 2, 4, 8, 16, 32 or 64 [default: 16]",
            (o, text) => o with { RefcountBits = RefcountBits(text) }),
        new("lazy_refcounts", "on|off", "reference counts may be written late, and the image be repaired after a crash",
            (o, text) => o with { LazyRefcounts = Switch("lazy_refcounts", text) }),
        new("extended_l2", "on|off", "allocate in 32nds of a cluster; clusters of 16K at least",
            (o, text) => o with { ExtendedL2 = Switch("extended_l2", text) }),
        new("compression_type", "zlib|zstd", "how clusters will be compressed",
            (o, text) => o with { CompressionType = Word("compression_type", text, CompressionTypes.Words) }),
        new("preallocation", "off|metadata|falloc|full", "what is allocated now: nothing, tables, reserved space, or zeroes written",
            (o, text) => o with { Preallocation = Word("preallocation", text, PreallocationModes.Words) }),
        new("data_file", "FILE", "keep the data in this file, which is made too; the image has tables only",
            (o, text) => o with { DataFile = Name("data_file", text) }),
        new("data_file_raw", "on|off", "keep the data file a raw disk that other programs can read",
            (o, text) => o with { DataFileRaw = Switch("data_file_raw", text) }),
        .. EncryptOptions.All,
    ];

    /// <param name="options">as they were before</param>
    /// <param name="name">qemu-img's name of the option</param>
    /// <param name="text">its value</param>
    /// <exception cref="OutcomeException">usage: no such option, or not a value of it</exception>
    public static CreateOptions Set(CreateOptions options, string name, string text)
    {
        if (All.FirstOrDefault(option => option.Name == name) is { } found)
            return found.Set(options, text);
        if (name is "encryption")
            throw EncryptOptions.NoLegacy(name, text);
        if (name is "encrypt.key-secret")
            throw CreateOption.Bad(name, text, "keys do not have names here", KeyOptions.HowToGive);

        throw new OutcomeException(OutcomeKind.Invalid, $"\"{name}\" is not an option of create",
            $"it must be one of {string.Join(", ", All.Select(option => option.Name))}",
            Nearest.Hint(name, All.Select(option => option.Name)));
    }

    /// <summary>Sets what stands after <c>-o</c>.</summary>
    /// <param name="options">as they were before</param>
    /// <param name="list"><c>NAME=VALUE,NAME=VALUE</c>; a comma within a value is written twice</param>
    /// <exception cref="OutcomeException">usage: no such option, or not a value of it</exception>
    public static CreateOptions SetAll(CreateOptions options, string list)
    {
        ArgumentNullException.ThrowIfNull(list);
        foreach (var part in Parts(list))
        {
            var equals = part.IndexOf('=', StringComparison.Ordinal);
            if (equals <= 0)
                throw new OutcomeException(OutcomeKind.Invalid, $"\"{part}\" is not an option of create", "options are NAME=VALUE");
            options = Set(options, part[..equals], part[(equals + 1)..]);
        }

        return options;
    }

    private static List<string> Parts(string list)
    {
        var parts = new List<string>();
        var part = new StringBuilder();
        for (var i = 0; i < list.Length; i++)
        {
            if (list[i] != ',')
            {
                part.Append(list[i]);
            }
            else if (i + 1 < list.Length && list[i + 1] == ',')
            {
                part.Append(',');
                i++;
            }
            else
            {
                parts.Add(part.ToString());
                part.Clear();
            }
        }

        parts.Add(part.ToString());
        return parts;
    }

    /// <summary>A size as on the command line.</summary>
    /// <exception cref="OutcomeException">usage</exception>
    public static long Size(string name, string text)
    {
        var bytes = s_size.Parse(name, text)!.Value;
        return s_size.Refuse(name, bytes) is { } refusal
            ? throw new OutcomeException(OutcomeKind.Invalid, refusal.What, refusal.Why) : bytes;
    }

    private static string Name(string name, string text) => text.Length > 0 ? text
        : throw CreateOption.Bad(name, text, "the name is empty");

    public static T Word<T>(string name, string text, EnumWords<T> words)
        where T : struct, Enum =>
        words.TryParse(text) ?? throw CreateOption.Bad(name, text, $"it must be one of {words}", Nearest.Hint(text, words.All));

    private static bool Switch(string name, string text) => text switch
    {
        "on" => true,
        "off" => false,
        _ => throw CreateOption.Bad(name, text, "it must be on or off"),
    };

    private static int Version(string text) => text switch
    {
        "1.1" or "v3" => 3,
        "0.10" or "v2" => 2,
        _ => throw CreateOption.Bad("compat", text, "it must be 1.1 or v3, 0.10 or v2"),
    };

    private static int ClusterSize(string text)
    {
        var bytes = Size("cluster_size", text);
        return bytes is >= 1 << Limits.MinClusterBits and <= 1 << Limits.MaxClusterBits && long.IsPow2(bytes) ? (int)bytes
            : throw CreateOption.Bad("cluster_size", text, "it must be a power of two from 512 to 2M");
    }

    private static int RefcountBits(string text) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var bits)
            && bits is >= 1 and <= 1 << Limits.MaxRefcountOrder && int.IsPow2(bits) ? bits
            : throw CreateOption.Bad("refcount_bits", text, "it must be 1, 2, 4, 8, 16, 32 or 64");
}
