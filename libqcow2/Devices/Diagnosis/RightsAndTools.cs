using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using Qcow2Blk.Exports.Ublk;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Devices.Diagnosis;

/// <summary>What of rights, limits and other programs there is.</summary>
internal sealed class RightsAndTools(Machine machine)
{
    private const string Rights = "rights", Limits = "limits", Tools = "tools";
    private const int CAP_SYS_ADMIN = 21, CAP_IPC_LOCK = 14;

    /// <summary>A chain of as many images as there may be, with connections.</summary>
    private const long WantedFiles = 1024;

    /// <summary>What a server of a block device locks with default settings, and some.</summary>
    private const long WantedMemory = 256 << 20;

    private readonly string _status = machine.Read("/proc/self/status");

    public IEnumerable<Finding> Examine() =>
        [User(), .. ControlNode(), RuntimeDirectory(), OpenFiles(), LockedMemory(), .. Programs(), .. Files(), .. AppArmor()];

    private Finding User()
    {
        var administrates = UblkHost.HasCapability(_status, CAP_SYS_ADMIN);
        var who = machine.IsRoot ? "root" : "not root";
        return administrates
            ? new Finding(Rights, Verdict.Ok, "user", $"{who}, with CAP_SYS_ADMIN")
            : new Finding(Rights, Verdict.Warning, "user", $"{who}, without CAP_SYS_ADMIN: NBD works, block devices need it",
                "run as root, or use --socket or --listen");
    }

    private IEnumerable<Finding> ControlNode()
    {
        const string node = UblkControl.Path;
        if (!machine.Has(node))
            yield break;
        var error = machine.OpenNode(node);
        yield return error == 0
            ? new Finding(Rights, Verdict.Ok, node, "can be opened")
            : new Finding(Rights, Verdict.Warning, node, $"cannot be opened: {Errno.Text(error)}",
                "run as root, or install the udev rule for unprivileged ublk devices and join its group");
    }

    private Finding RuntimeDirectory()
    {
        (var path, var refusal) = machine.RuntimeDirectory();
        return refusal is null
            ? new Finding(Rights, Verdict.Ok, "runtime directory", path)
            : new Finding(Rights, Verdict.Problem, "runtime directory", $"{path} cannot be used: {refusal.Why}",
                refusal.Hint ?? $"set {Registry.RuntimeDirectory.Variable} to a directory of your own");
    }

    private Finding OpenFiles()
    {
        var most = Limit("Max open files");
        return most < WantedFiles
            ? new Finding(Limits, Verdict.Warning, "open files", $"{most}: too few for long backing chains and many connections",
                $"ulimit -n {WantedFiles}, or LimitNOFILE= of a unit")
            : new Finding(Limits, Verdict.Ok, "open files", Text(most));
    }

    private Finding LockedMemory()
    {
        var most = Limit("Max locked memory");
        if (UblkHost.HasCapability(_status, CAP_IPC_LOCK))
            return new Finding(Limits, Verdict.Ok, "locked memory", "unlimited (CAP_IPC_LOCK)");
        return most < WantedMemory
            ? new Finding(Limits, Verdict.Warning, "locked memory",
                $"{most >> 10} KiB: the server of a block device cannot keep its memory from being paged out",
                "run as root, or raise ulimit -l")
            : new Finding(Limits, Verdict.Ok, "locked memory", Text(most));
    }

    private static string Text(long limit) => limit == long.MaxValue ? "unlimited" : limit.ToString(CultureInfo.InvariantCulture);

    /// <summary>The soft limit: the second column from the right, of "Max open files   1024   4096   files".</summary>
    private long Limit(string name)
    {
        var line = machine.Read("/proc/self/limits").Split('\n').FirstOrDefault(line => line.StartsWith(name, StringComparison.Ordinal));
        var soft = line?[name.Length..].Split(' ', StringSplitOptions.RemoveEmptyEntries).FirstOrDefault();
        return long.TryParse(soft, NumberStyles.None, CultureInfo.InvariantCulture, out var limit) ? limit : long.MaxValue;
    }

    private IEnumerable<Finding> Programs()
    {
        yield return Program("qemu-img", "snapshots, resizing and checks of images need it", "install qemu-utils or qemu-img");
        yield return Program("modprobe", "drivers must have been loaded by other means", "install kmod");
        var (version, failure) = machine.Curl();
        yield return failure is null ? new Finding(Tools, Verdict.Ok, "libcurl", version!)
            : new Finding(Tools, Verdict.Warning, "libcurl", $"{failure}: no bases from https:// and s3://", "install libcurl4 or libcurl");
    }

    private Finding Program(string name, string otherwise, string hint) => machine.Program(name) is { } path
        ? new Finding(Tools, Verdict.Ok, name, path)
        : new Finding(Tools, Verdict.Warning, name, $"not found: {otherwise}", hint);

    private IEnumerable<Finding> Files()
    {
        const string install = "install the package, or run \"make install\"";
        if (machine.Has("/run/udev"))
            yield return Installed("udev rule", "udev/rules.d/60-qcow2blk.rules", "no links in /dev/qcow2blk", install);
        if (machine.Has("/run/systemd/system"))
            yield return Installed("systemd unit", "systemd/system/qcow2blk@.service", "no attach at boot", install);
    }

    private Finding Installed(string what, string file, string otherwise, string hint)
    {
        var path = ((string[])["/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"]).Select(folder => $"{folder}/{file}")
            .FirstOrDefault(machine.Has);
        return path is not null ? new Finding(Tools, Verdict.Ok, what, path)
            : new Finding(Tools, Verdict.Warning, what, $"not installed: {otherwise}", hint);
    }

    private IEnumerable<Finding> AppArmor()
    {
        if (machine.Read("/sys/module/apparmor/parameters/enabled").Trim() != "Y")
            yield break;
        var profile = machine.Read("/proc/self/attr/apparmor/current").Trim();
        if (profile.Length == 0)
            profile = machine.Read("/proc/self/attr/current").Trim();
        yield return new Finding(Tools, Verdict.Ok, "AppArmor", profile is "" or "unconfined" ? "on, and this program is not confined"
            : $"on, with the profile {profile}");
    }
}
