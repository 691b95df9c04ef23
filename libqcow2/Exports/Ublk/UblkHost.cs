using System;
using System.Globalization;
using System.IO;
using System.Linq;

namespace Qcow2Blk.Exports.Ublk;

/// <summary>What decides whether this process may have ublk devices, and what is to be said if not.</summary>
/// <param name="Release">of the kernel, as <c>uname -r</c> says it</param>
/// <param name="IsRoot">whether the effective user is 0 (in its user namespace)</param>
/// <param name="IsAdministrator">CAP_SYS_ADMIN where it counts: in the first user namespace</param>
/// <param name="Module">what is known of the driver</param>
/// <param name="IoUringDisabled">the sysctl kernel.io_uring_disabled; 0 where there is none (before Linux 6.6)</param>
internal readonly record struct UblkHost(string Release, bool IsRoot, bool IsAdministrator, UblkModule Module, int IoUringDisabled)
{
    private const int CAP_SYS_ADMIN = 21;

    public static UblkHost OfThis()
    {
        var release = Read("/proc/sys/kernel/osrelease").Trim();
        return new UblkHost(release, Environment.IsPrivilegedProcess, HasAdministration(), FindModule(release),
            int.TryParse(Read("/proc/sys/kernel/io_uring_disabled"), NumberStyles.Integer, CultureInfo.InvariantCulture, out var value)
            ? value : 0);
    }

    private static bool HasAdministration()
    {
        // The driver asks for the capability in the first user namespace: the only one that maps every user.
        var map = Read("/proc/self/uid_map").Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        return map is ["0", "0", "4294967295"] && HasCapability(Read("/proc/self/status"), CAP_SYS_ADMIN);
    }

    /// <param name="status">the text of /proc/PID/status</param>
    /// <param name="capability">its number</param>
    internal static bool HasCapability(string status, int capability)
    {
        const string label = "CapEff:";
        var line = status.Split('\n').FirstOrDefault(line => line.StartsWith(label, StringComparison.Ordinal));
        return line is not null
            && ulong.TryParse(line.AsSpan(label.Length).Trim(), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var set)
            && (set >> capability & 1) != 0;
    }

    private static UblkModule FindModule(string release)
    {
        if (Directory.Exists("/sys/class/misc/ublk-control"))
            return UblkModule.Loaded;
        var folder = $"/lib/modules/{release}";
        if (!File.Exists($"{folder}/modules.dep"))
            return UblkModule.Unknown;
        return File.ReadLines($"{folder}/modules.dep").Any(line => line.Contains("/ublk_drv.ko", StringComparison.Ordinal))
            ? UblkModule.Installed
            : UblkModule.Absent;
    }

    private static string Read(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }
}

/// <summary>What is known of the driver, ublk_drv.</summary>
internal enum UblkModule
{
    /// <summary>The kernel's modules cannot be seen from here (a container).</summary>
    Unknown,

    /// <summary>This kernel was built without it.</summary>
    Absent,

    /// <summary>It could be loaded.</summary>
    Installed,
    Loaded,
}
