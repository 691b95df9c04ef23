using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;

namespace Qcow2Blk.Cli.Mount;

/// <summary>What blkid(8) finds on a disk or a partition.</summary>
/// <param name="Node">/dev/ublkb0 or /dev/ublkb0p1</param>
/// <param name="Partition">its number; null for the disk itself</param>
/// <param name="Type">ext4, crypto_LUKS, swap; null if there is nothing</param>
/// <param name="Usage">filesystem, crypto, raid, other; null if there is nothing</param>
/// <param name="Label">of a file system; null if it has none</param>
/// <param name="Table">the kind of partition table that is on it: gpt, dos; null if there is none</param>
/// <param name="Size">its bytes</param>
internal sealed record DiskContent(
    string Node, int? Partition, string? Type, string? Usage, string? Label, string? Table, long Size)
{
    private const string Filesystem = "filesystem", Encrypted = "crypto";

    /// <summary>blkid(8): nothing was found.</summary>
    private const int NothingFound = 2;

    internal bool IsFileSystem => Usage == Filesystem;

    internal bool IsEncrypted => Usage == Encrypted;

    /// <summary>"partition 1 (ext4, 1.9 GiB, "root")".</summary>
    internal string Description
    {
        get
        {
            var where = Partition is { } number ? $"partition {number}" : "the disk itself";
            return $"{where} ({Type ?? "nothing known"}, {Quantity.Bytes(Size)}{(Label is null ? "" : $", \"{Label}\"")})";
        }
    }

    /// <exception cref="Qcow2Blk.Devices.Outcomes.OutcomeException">blkid cannot be run</exception>
    internal static DiskContent Of(string node, int? partition)
    {
        // Not from its cache: the node had another disk before.
        var (status, output) = ChildProcess.Capture("blkid", "-p", "-o", "export", node);
        return Parse(node, partition, status is 0 or NothingFound ? output : "", SizeOf(Path.GetFileName(node)));
    }

    internal static DiskContent Parse(string node, int? partition, string export, long size)
    {
        var found = export.Split('\n').Select(line => line.Split('=', 2)).Where(pair => pair.Length == 2)
            .GroupBy(pair => pair[0]).ToDictionary(group => group.Key, group => Unescape(group.Last()[1]));
        return new DiskContent(node, partition, found.GetValueOrDefault("TYPE"), found.GetValueOrDefault("USAGE"),
            found.GetValueOrDefault("LABEL"), found.GetValueOrDefault("PTTYPE"), size);
    }

    /// <summary>The numbers of the partitions that the kernel knows of, in order.</summary>
    internal static IReadOnlyList<int> PartitionsOf(string disk)
    {
        var numbers = new List<int>();
        foreach (var part in Directory.GetDirectories($"/sys/block/{disk}", $"{disk}p*"))
        {
            if (int.TryParse(Read(Path.Combine(part, "partition")), NumberStyles.None, CultureInfo.InvariantCulture, out var number))
                numbers.Add(number);
        }

        numbers.Sort();
        return numbers;
    }

    private static long SizeOf(string name) =>
        long.TryParse(Read($"/sys/class/block/{name}/size"), NumberStyles.None, CultureInfo.InvariantCulture, out var sectors)
            ? sectors * 512 : 0;

    private static string? Read(string path) => File.Exists(path) ? File.ReadAllText(path).Trim() : null;

    /// <summary>A shell's reading of what blkid prints: a backslash before each character that is not plain.</summary>
    private static string Unescape(string value) => value.Replace("\\", "", StringComparison.Ordinal);
}
