using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Devices.Options;

namespace Qcow2Blk.Tests.Devices.Options;

/// <summary>Values that options of the table can have, as users write them.</summary>
internal static class SampleSettings
{
    private const string Awkward = "ä \"quoted\" $x \\ 'end";

    /// <summary>For those that are not one of a few words.</summary>
    private static readonly Dictionary<string, string[]> s_texts = new()
    {
        ["socket"] = ["/run/disk.sock", $"/run/{Awkward}"],
        ["listen"] = ["localhost:10809", "[::1]:0", "backup.example:65535"],
        ["device"] = ["/dev/ublkb3", "/dev/nbd0"],
        ["depth"] = ["1", "128", "1024"],
        ["nbd-timeout"] = ["1", "86400"],
        ["dead-timeout"] = ["0", "86400"],
        ["name"] = ["disk", "a.b_c-9"],
        ["run"] = ["true", Awkward],
        ["cache-size"] = ["1048576", "68719476736"],
        ["queues"] = ["1", "64"],
        ["snapshot"] = ["1", Awkward],
        ["backing-dir"] = ["/", "/tmp", "/usr"],
        ["bitmap"] = ["b0", "another bitmap"],
        ["data-file"] = ["/data.raw", $"/{Awkward}"],
        ["backing"] = ["/base.qcow2", $"/{Awkward}"],
        ["base"] = ["https://images.example/base.qcow2", "nbd+unix:///x?socket=/run/s"],
        ["mirror"] = ["s3://bucket/base.qcow2", "http://mirror.example:8080/a/b"],
        ["sha256"] = [new string('a', 64)],
        ["manifest"] = ["/base.qcm", "https://images.example/base.qcm"],
        ["cache-dir"] = ["none", "/var/cache/other", $"/{Awkward}"],
        ["cache-limit"] = ["67108864"],
        ["chunk-size"] = ["65536", "4194304"],
        ["source-timeout"] = ["1", "86400"],
        ["credentials"] = ["/etc/qcow2blk/credentials"],
        ["credential-command"] = ["vault read -field=x secret/y"],
        ["url-command"] = ["sign \"$1\""],
        ["s3-endpoint"] = ["https://store.example:9000"],
        ["s3-region"] = ["eu-central-1"],
        ["ca-file"] = ["/etc/ssl/own.pem"],
        ["record-trace"] = ["/var/tmp/trace"],
        ["trace"] = ["/var/tmp/trace", "https://images.example/base.trace"],
        ["fill"] = ["after=600s", "after=0s"],
        ["fill-rate"] = ["65536"],
        ["key-file"] = ["/run/key", $"/run/{Awkward}"],
        ["key-credential"] = ["disk.key"],
        ["key-env"] = ["DISK_KEY", "other key"],
        ["key-fd"] = ["0", "12"],
        ["lock-timeout"] = ["0", "3600"],
        ["iops"] = ["1", "10000000"],
        ["read-iops"] = ["250"],
        ["write-iops"] = ["99"],
        ["bandwidth"] = ["4096", "1099511627776"],
        ["read-bandwidth"] = ["104857600"],
        ["write-bandwidth"] = ["1048576"],
        ["burst"] = ["0.02", "0.5", "3600"],
        ["pid-file"] = ["/run/disk.pid"],
    };

    internal static IReadOnlyList<string> Of(AttachOption option) =>
        option.IsFlag ? ["true"] : option.Words.Count > 0 ? option.Words : s_texts.GetValueOrDefault(option.Name)
            ?? throw new NotSupportedException($"{option.Switch} has no sample values: give it some here");

    /// <summary>Options as users could give them, at random: an address or a block device, and of the rest a third.</summary>
    internal static AttachOptions Random(int seed)
    {
        var random = new Random(seed);
        var settings = new AttachSettings(new AttachOptions { Image = "/disk.qcow2" });
        var address = random.Next(3) switch { 0 => "socket", 1 => "listen", _ => null };
        foreach (var option in AttachOptionTable.All.Where(option => option.IsPublic))
        {
            var isAddress = option.Name is "socket" or "listen";
            if (isAddress ? option.Name != address : (option.IsOfBlockDevice && address is not null) || random.Next(3) > 0)
                continue;
            for (var times = option.IsList ? random.Next(1, 4) : 1; times > 0; times--)
                settings.Set(option, Any(random, Of(option)));
        }

        // The name of a node decides.
        var options = settings.Options;
        return KernelNode.TryParse(options.Device) is { } node ? options with { Transport = node.Transport } : options;
    }

    /// <summary>Lists count by what is in them.</summary>
    internal static bool AreSame(AttachOptions one, AttachOptions other) =>
        Lists(one).Zip(Lists(other), (of, like) => of.SequenceEqual(like)).All(same => same)
            && (one with
            {
                BackingDirectories = other.BackingDirectories,
                Bitmaps = other.Bitmaps,
                KeyFiles = other.KeyFiles,
                KeyCredentials = other.KeyCredentials,
                KeyVariables = other.KeyVariables,
                Remote = one.Remote with { Mirrors = other.Remote.Mirrors },
            }) == other;

    private static IReadOnlyList<string>[] Lists(AttachOptions of) =>
        [of.BackingDirectories, of.Bitmaps, of.KeyFiles, of.KeyCredentials, of.KeyVariables, of.Remote.Mirrors];

    private static string Any(Random random, IReadOnlyList<string> of) => of[random.Next(of.Count)];
}
