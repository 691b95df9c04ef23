using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Cli.Mount;

/// <summary>What -o says, sorted by who it is meant for: this helper, the attach, or the mount of the file system.</summary>
internal sealed class MountOptions
{
    /// <summary>Before the name of any option of attach, also of those that are otherwise left to the file system.</summary>
    private const string Prefix = "qcow2.";

    /// <summary>File systems have options of these names, which people write more often.</summary>
    private static readonly string[] s_ofFileSystems = ["discard", "device"];

    /// <summary>With these there is no block device, or no server that outlives the mount command.</summary>
    private static readonly string[] s_impossible = ["socket", "listen", "foreground", "run"];

    /// <summary>For mount(8) itself, who may mount and when: it has seen to that, or systemd has.</summary>
    private static readonly string[] s_ofOuterMount =
        ["user", "nouser", "users", "nousers", "owner", "noowner", "group", "nogroup", "auto", "noauto", "nofail", "fail", "defaults"];

    private readonly List<string> _inner = [];

    private MountOptions(string image) => Attach = new AttachSettings(new AttachOptions { Image = image, DetachWhenUnused = true });

    /// <summary>How to attach the image.</summary>
    internal AttachSettings Attach { get; }

    /// <summary>What was said of the attach.</summary>
    internal List<AttachOption> Given { get; } = [];

    /// <summary>The partition that was asked for; null for the only file system.</summary>
    internal int? Partition { get; private set; }

    /// <summary>The file system's type; null to find out.</summary>
    internal string? FileSystem { get; private set; }

    internal bool Remount { get; private set; }

    internal bool ReadOnly { get; private set; }

    internal bool NoFail { get; private set; }

    /// <summary>For the mount of the file system, one text for its -o.</summary>
    internal string Inner => string.Join(',', (string[])[ReadOnly ? "ro" : "rw", .. _inner]);

    /// <param name="list">the options; empty for none</param>
    /// <param name="image">the image's absolute path</param>
    /// <param name="subtype">the type behind the dot of "qcow2.ext4"; null if there is none</param>
    /// <exception cref="OutcomeException">usage</exception>
    internal static MountOptions Parse(string list, string image, string? subtype = null)
    {
        var options = new MountOptions(image) { FileSystem = subtype };
        foreach (var option in MountOption.Split(list))
            options.Add(option);
        if (options.Attach.Options.EffectiveReadOnly)
            options.ReadOnly = true;
        else if (options.ReadOnly)
            options.Attach.Set("read-only", "true");
        return options;
    }

    private void Add(in MountOption option)
    {
        switch (option.Name)
        {
            case "ro" or "rw" when option.Value is null:
                ReadOnly = option.Name == "ro";
                break;
            case "remount" when option.Value is null:
                Remount = true;
                break;
            case "nofail" when option.Value is null:
                NoFail = true;
                break;
            case "partition":
                Partition = int.TryParse(option.Value, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number > 0
                    ? number : throw Usage($"partition={option.Value} is not a number of a partition", "the first partition is 1");
                break;
            case "fstype":
                FileSystem = option.Value is { Length: > 0 } ? option.Value : throw Usage("fstype has no value", "such as fstype=ext4");
                break;
            default:
                AddOther(option);
                break;
        }

        // A helper that calls mount(8) with its own type would call itself.
        if (FileSystem == "qcow2")
            throw Usage("fstype=qcow2 is not a file system", "it means the file system in the image, such as fstype=ext4");
    }

    private void AddOther(in MountOption option)
    {
        var prefixed = option.Name.StartsWith(Prefix, StringComparison.Ordinal);
        var name = prefixed ? option.Name[Prefix.Length..] : option.Name;
        if (s_impossible.Contains(name))
            throw Usage($"{option.Name} cannot be an option of a mount", "a mount needs a block device that lasts");
        var attach = AttachOptionTable.All.FirstOrDefault(known => known is { IsPublic: true, IsHidden: false } && known.Name == name);
        if (prefixed)
            Set(attach ?? AttachOptionTable.Named(name), option);
        else if (attach is not null && !s_ofFileSystems.Contains(name))
            Set(attach, option);
        else if (!s_ofOuterMount.Contains(name))
            _inner.Add(option.Text);
    }

    private void Set(AttachOption attach, in MountOption option)
    {
        if (option.Value is null && !attach.IsFlag)
            throw Usage($"{option.Name} has no value", $"such as {option.Name}={attach.ValueName}");
        Attach.Set(attach, option.Value ?? "true");
        Given.Add(attach);
    }

    private static OutcomeException Usage(string what, string why) =>
        new(OutcomeKind.Invalid, what, why, "see mount.qcow2(8)");
}
