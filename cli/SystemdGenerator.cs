using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Remote;

namespace Qcow2Blk.Cli;

/// <summary>
/// <c>qcow2blk systemd-generator DIRECTORY…</c>, for systemd.generator(7) only: writes into the first directory what the units
/// of the devices in /etc/qcow2blk cannot know by themselves: the mount that an image is on, the names of what uses the
/// device, and whether it needs the network. It runs before anything is mounted, so it opens no image.
/// </summary>
internal static class SystemdGenerator
{
    /// <summary>The hidden verb.</summary>
    internal const string Verb = "systemd-generator";

    private const string Configuration = "/etc/qcow2blk";

    // What units of the package lack on purpose, and a base in a store needs.
    private const string Network = "RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_INET AF_INET6\nIPAddressDeny=\n";

    internal static int Run(string[] args)
    {
        try
        {
            if (args.Length < 2)
                return (int)ExitCode.Usage;
            Write(args[1], Configuration, "/etc/fstab");
            return (int)ExitCode.Done;
        }
        catch (Exception error)
        {
            var refusal = Refusals.From(error, "cannot prepare units");
            Output.Error(refusal);
            return (int)ExitCodes.Of(refusal.Kind);
        }
    }

    /// <param name="units">where the drop-ins go</param>
    /// <param name="configuration">where NAME.conf and nbd/NAME.conf are</param>
    /// <param name="fstab">what is mounted at boot</param>
    internal static void Write(string units, string configuration, string fstab)
    {
        var sources = SourcesOf(fstab);
        foreach (var (name, file, image, isRemote) in Devices(configuration))
        {
            var disk = $"/dev/qcow2blk/{name}";
            string[] nodes = [disk, .. sources.Where(source => IsPartition(source, disk)).Distinct()];
            var targets = string.Join(' ', nodes.Select(node => $"blockdev@{UnitNameOf(node)}.target"));
            DropIn(units, $"qcow2blk@{name}.service",
                $"SourcePath={Specified(file)}\n{MountsFor(image)}Wants={targets}\nBefore={targets}\n"
                + (isRemote ? $"{WaitForNetwork}\n[Service]\n{Network}{Cache("qcow2blk")}" : ""));

            // Not Requires=: to restart the unit, for a newer program, must not unmount what is on the device.
            foreach (var node in nodes)
                DropIn(units, $"{UnitNameOf(node)}.device", $"Wants=qcow2blk@{name}.service\n");
        }

        foreach (var (name, file, image, isRemote) in Devices(Path.Combine(configuration, "nbd")))
        {
            // Its user has no home, and may not use the cache of root.
            const string folder = "qcow2blk-nbd";
            DropIn(units, $"qcow2blk-nbd@{name}.service", $"SourcePath={Specified(file)}\n{MountsFor(image)}" + (isRemote
                ? $"{WaitForNetwork}\n[Service]\nPrivateNetwork=no\n{Network}{Cache(folder)}"
                    + $"Environment={RemoteOptions.CacheVariable}=/var/cache/{folder}\n"
                : ""));
        }
    }

    /// <summary>As for what fstab(5) mounts with _netdev. Not Requires=: the cache may have all that is needed.</summary>
    private const string WaitForNetwork = "Wants=network-online.target\nAfter=network-online.target\n";

    /// <summary>Only where it is used: it makes the unit wait for the mount of /var.</summary>
    private static string Cache(string folder) => $"CacheDirectory={folder}\nCacheDirectoryMode=0700\n";

    private static IEnumerable<(string Name, string File, string? Image, bool IsRemote)> Devices(string folder)
    {
        if (!Directory.Exists(folder))
            yield break;
        foreach (var file in Directory.GetFiles(folder, "*.conf").Order(StringComparer.Ordinal))
        {
            var name = Path.GetFileNameWithoutExtension(file);
            if (!DeviceName.IsValid(name))
                continue;
            var settings = EnvironmentFile.Parse(File.ReadAllText(file));
            yield return (name, file, settings.GetValueOrDefault("IMAGE"), MayReadStores(settings.GetValueOrDefault("OPTIONS") ?? ""));
        }
    }

    /// <summary>Whether a base may be in a store. Only the image says where it is, which cannot be asked yet.</summary>
    private static bool MayReadStores(string options)
    {
        var words = options.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        for (var i = 0; i < words.Length; i++)
        {
            var word = words[i].Trim('"', '\'');
            var value = word == "--base" && i + 1 < words.Length ? words[i + 1].Trim('"', '\'')
                : word.StartsWith("--base=", StringComparison.Ordinal) ? word["--base=".Length..] : "";
            if (word == "--allow-remote-backing" || RemoteLocation.IsUrl(value))
                return true;
        }

        return false;
    }

    /// <summary>What fstab(5) mounts; names in /dev/qcow2blk need no escapes.</summary>
    private static string[] SourcesOf(string fstab) => !File.Exists(fstab) ? []
        : [.. File.ReadLines(fstab).Select(line => line.TrimStart().Split(' ', '\t')[0])];

    private static bool IsPartition(string source, string disk) =>
        source.StartsWith(disk + "-part", StringComparison.Ordinal) && source[(disk.Length + 5)..] is { Length: > 0 } number
        && number.All(char.IsAsciiDigit);

    /// <summary>As systemd-escape --path does it, of what names in /dev/qcow2blk consist of.</summary>
    private static string UnitNameOf(string node) =>
        node[1..].Replace("-", @"\x2d", StringComparison.Ordinal).Replace('/', '-');

    private static string MountsFor(string? image) =>
        image is ['/', ..] && !image.Any(char.IsControl) ? $"RequiresMountsFor={Quoted(Specified(image))}\n" : "";

    private static string Quoted(string text) =>
        $"\"{text.Replace(@"\", @"\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal)}\"";

    /// <summary>A % begins a specifier (systemd.unit(5)).</summary>
    private static string Specified(string text) => text.Replace("%", "%%", StringComparison.Ordinal);

    private static void DropIn(string units, string unit, string settings)
    {
        var folder = Directory.CreateDirectory(Path.Combine(units, unit + ".d")).FullName;
        File.WriteAllText(Path.Combine(folder, "50-qcow2blk.conf"), $"# Made by qcow2blk-generator.\n[Unit]\n{settings}");
    }
}
