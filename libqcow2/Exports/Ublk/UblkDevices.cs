using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using Qcow2Blk.Interop;
using static Qcow2Blk.Interop.Ublk;

namespace Qcow2Blk.Exports.Ublk;

/// <summary>A ublk device of this host, whoever serves it.</summary>
/// <param name="Number">N of /dev/ublkbN</param>
/// <param name="Error">0, or the negative errno that asking for it gave: all else is unknown then</param>
/// <param name="Info">what the kernel says of it</param>
internal readonly record struct UblkDevice(int Number, int Error, ublksrv_ctrl_dev_info Info)
{
    /// <summary>"qcow2blk" in <c>ublksrv_flags</c>, which the driver keeps for its servers: tells our devices from others'.</summary>
    public const ulong Mark = 0x7163_6f77_3262_6c6b;

    public bool IsOurs => Error == 0 && Info.ublksrv_flags == Mark;

    /// <summary>Dead, live, quiesced or fail-io, as <c>list</c> spells it.</summary>
    public string State => Error != 0 ? "unknown" : Info.state switch
    {
        UBLK_S_DEV_DEAD => "dead",
        UBLK_S_DEV_LIVE => "live",
        UBLK_S_DEV_QUIESCED => "quiesced",
        UBLK_S_DEV_FAIL_IO => "fail-io",
        _ => Info.state.ToString(CultureInfo.InvariantCulture),
    };

    /// <summary>The process that serves or served it, 0 if none ever did. Not valid in another pid namespace than the server's.</summary>
    public int Server => Error == 0 && Info.ublksrv_pid > 0 ? Info.ublksrv_pid : 0;

    /// <summary>Whether START_USER_RECOVERY can give it a new server.</summary>
    public bool IsRecoverable => Error == 0
        && Info.state is UBLK_S_DEV_QUIESCED or UBLK_S_DEV_FAIL_IO
        && (Info.flags & UBLK_F_USER_RECOVERY) != 0;
}

/// <summary>Finds the ublk devices of this host.</summary>
internal static class UblkDevices
{
    private const string Class = "/sys/class/ublk-char";
    private const string NodePrefix = "ublkc";

    /// <summary>Every device that sysfs or /dev shows, by number, with what the driver says of it.</summary>
    public static IReadOnlyList<UblkDevice> List(UblkControl control)
    {
        ArgumentNullException.ThrowIfNull(control);
        var devices = new List<UblkDevice>();
        foreach (var number in Numbers(Class, "/dev"))
        {
            var error = control.GetDeviceInfo(number, out var info);
            // Deleted since it was seen, or a node that outlived its device.
            if (error != -Errno.ENODEV)
                devices.Add(new UblkDevice(number, error, info));
        }

        return devices;
    }

    /// <summary>The numbers of all entries "ublkcN" of some folders; folders that are not there have none.</summary>
    internal static IReadOnlyCollection<int> Numbers(params string[] folders)
    {
        var numbers = new SortedSet<int>();
        foreach (var entry in folders.Where(Directory.Exists)
            .SelectMany(folder => Directory.EnumerateFileSystemEntries(folder, NodePrefix + "*")))
        {
            if (int.TryParse(Path.GetFileName(entry).AsSpan(NodePrefix.Length), NumberStyles.None, CultureInfo.InvariantCulture,
                out var number))
            {
                numbers.Add(number);
            }
        }

        return numbers;
    }
}
