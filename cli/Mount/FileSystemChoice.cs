using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Threading;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Cli.Mount;

/// <summary>Which node of an attached disk to mount: the partition that was asked for, or the only file system.</summary>
internal static class FileSystemChoice
{
    /// <summary>The kernel has read the partition table by the time that a disk can be opened; their nodes follow.</summary>
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(3);

    /// <param name="disk">the disk, which is open</param>
    /// <param name="options">what was asked for</param>
    /// <param name="what">what fails</param>
    /// <exception cref="OutcomeException">there is not exactly one</exception>
    internal static string Find(KernelNode disk, MountOptions options, string what)
    {
        var whole = DiskContent.Of(disk.Path, null);
        var partitions = WaitForPartitions(disk, whole, options.Partition);
        if (options.Partition is not { } number)
            return Choose(All(disk, whole, partitions), options.FileSystem, what).Node;
        return partitions.Contains(number) ? NodeOf(disk, number)
            : throw new OutcomeException(OutcomeKind.Failed, what, partitions.Count == 0 ? "the disk has no partitions"
                : $"the disk has no partition {number}, only {string.Join(", ", partitions)}");
    }

    /// <param name="contents">the disk, and its partitions</param>
    /// <param name="type">the wanted type; null for any</param>
    /// <param name="what">what fails</param>
    /// <exception cref="OutcomeException">there is not exactly one</exception>
    internal static DiskContent Choose(IReadOnlyList<DiskContent> contents, string? type, string what)
    {
        DiskContent[] found = [.. contents.Where(content => content.IsFileSystem)];
        if (type is not null && found.Count(content => content.Type == type) == 1)
            return found.First(content => content.Type == type);
        return found switch
        {
            [var only] => only,
            [] => throw new OutcomeException(OutcomeKind.Failed, what, $"no file system was found on {Describe(contents)}",
                contents.Any(content => content.IsEncrypted)
                    ? "attach the image and open it with cryptsetup(8): mount.qcow2(8) shows how" : null),
            _ => throw new OutcomeException(OutcomeKind.Failed, what, $"it has {found.Length} file systems: {Describe(found)}",
                "choose one with -o partition=N"),
        };
    }

    private static string Describe(IReadOnlyList<DiskContent> contents) =>
        string.Join(", ", contents.Select(content => content.Description));

    /// <summary>A file system on the whole disk is meant before what looks like partitions of it.</summary>
    private static List<DiskContent> All(KernelNode disk, DiskContent whole, IReadOnlyList<int> partitions)
    {
        if (whole.IsFileSystem || partitions.Count == 0)
            return [whole];
        return [.. partitions.Select(number => DiskContent.Of(NodeOf(disk, number), number))];
    }

    private static IReadOnlyList<int> WaitForPartitions(KernelNode disk, DiskContent whole, int? wanted)
    {
        var deadline = Environment.TickCount64 + (long)s_patience.TotalMilliseconds;
        while (true)
        {
            var numbers = DiskContent.PartitionsOf(disk.Name);
            var complete = numbers.Count > 0 && numbers.All(number => File.Exists(NodeOf(disk, number)))
                && (wanted is null || numbers.Contains(wanted.Value));
            if (whole.Table is null || complete || Environment.TickCount64 >= deadline)
                return numbers;
            Thread.Sleep(20);
        }
    }

    private static string NodeOf(KernelNode disk, int partition) => $"{disk.Path}p{partition}";
}
