using System;
using System.Collections.Generic;
using System.Globalization;

namespace Qcow2Blk.Exports.Ublk;

/// <summary>
/// Kernels whose ublk is known to be broken in a way that no probing shows before it is too late. This only warns:
/// what a kernel can do is asked, never guessed by version.
/// </summary>
internal static class UblkKernelWarnings
{
    /// <param name="release">as <c>uname -r</c> says it: "6.12.94+deb13-amd64"</param>
    /// <returns>what the user should know before the first device; empty for a kernel that nothing is known of</returns>
    public static IReadOnlyList<string> For(string release) => Version(release) switch
    {
        (6, 17, 0) =>
            [$"Linux {release}: ublk of 6.17.0 is known to fail or crash the kernel when a device is made or started; use a later 6.17"
                + $" or another kernel"],
        (6, 18, 4) => [$"Linux {release}: ublk of 6.18.4 is known to crash the kernel when a device is made; use 6.18.5 or newer"],
        (6, 7, _) => [$"Linux {release}: ublk of 6.7 is known to crash the kernel when a device is recovered; use 6.8 or newer"],
        ( < 6, _, _) or (6, < 8, _) => [$"Linux {release}: ublk before 6.8 is little tested; use 6.8 or newer"],
        _ => [],
    };

    /// <summary>
    /// Whether a device should only be recovered by a process that never served it. Recovery by the process that let
    /// the device go has crashed kernels of 6.12 (seen on 6.12.94, after dozens of rounds under load; never on 7.3.4).
    /// </summary>
    public static bool RecoverOnlyFromNewProcess(string release) => Version(release) is ( < 6, _, _) or (6, <= 12, _);

    /// <summary>For a message about a command that did not come back.</summary>
    internal static string Hint(string release) => For(release) is [var warning, ..]
        ? warning
        : "see the kernel log: a command that hangs in the driver holds up all others, and may need a reboot";

    /// <summary>The three numbers in front; missing ones are 0.</summary>
    internal static (int Major, int Minor, int Patch) Version(string release)
    {
        var numbers = new int[3];
        var position = 0;
        for (var i = 0; i < numbers.Length; i++)
        {
            var begin = position;
            while (position < release.Length && char.IsAsciiDigit(release[position]))
                position++;
            if (!int.TryParse(release.AsSpan(begin, position - begin), NumberStyles.None, CultureInfo.InvariantCulture, out numbers[i]))
                break;
            if (position == release.Length || release[position] != '.')
                break;
            position++;
        }

        return (numbers[0], numbers[1], numbers[2]);
    }
}
