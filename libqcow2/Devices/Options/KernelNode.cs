using System;
using System.Globalization;
using System.IO;

namespace Qcow2Blk.Devices.Options;

/// <summary>The node of a disk that this program can make: /dev/ublkb3 or /dev/nbd0.</summary>
/// <param name="Transport">what makes it; never <see cref="DeviceTransport.Auto"/></param>
/// <param name="Index">its number</param>
internal readonly record struct KernelNode(DeviceTransport Transport, int Index)
{
    private const string Folder = "/dev/";
    private const string UblkPrefix = "ublkb";
    private const string NbdPrefix = "nbd";

    /// <summary>Minor numbers have 20 bits (linux/kdev_t.h).</summary>
    private const int MaxIndex = (1 << 20) - 1;

    /// <summary>As the kernel and sysfs call it: ublkb3.</summary>
    public string Name => (Transport == DeviceTransport.Ublk ? UblkPrefix : NbdPrefix) + Index.ToString(CultureInfo.InvariantCulture);

    public string Path => Folder + Name;

    /// <summary>
    /// Whether the kernel has this disk now. The nodes of the kernel's NBD are always there: those in use have a "pid".
    /// </summary>
    public bool Exists => Transport == DeviceTransport.Ublk
        ? Directory.Exists($"/sys/block/{Name}") || File.Exists($"/dev/ublkc{Index.ToString(CultureInfo.InvariantCulture)}")
        : File.Exists($"/sys/block/{Name}/pid");

    /// <summary>Reads /dev/ublkb3, ublkb3, /dev/nbd0 and nbd0.</summary>
    /// <returns>null if it is not one of these, a partition for instance</returns>
    public static KernelNode? TryParse(string? path)
    {
        if (path is null)
            return null;
        var name = path.StartsWith(Folder, StringComparison.Ordinal) ? path.AsSpan(Folder.Length) : path;
        if (name.StartsWith(UblkPrefix, StringComparison.Ordinal))
            return Number(name[UblkPrefix.Length..]) is { } index ? new KernelNode(DeviceTransport.Ublk, index) : null;
        if (name.StartsWith(NbdPrefix, StringComparison.Ordinal))
            return Number(name[NbdPrefix.Length..]) is { } index ? new KernelNode(DeviceTransport.Nbd, index) : null;
        return null;
    }

    /// <summary>Makes udev look at the disk and its partitions again: it gives them their stable names (packaging/udev).</summary>
    public void Announce()
    {
        var disk = $"/sys/block/{Name}";
        Trigger(disk);
        try
        {
            foreach (var part in Directory.GetDirectories(disk, $"{Name}p*"))
                Trigger(part);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // It has gone again, or is not shown in this container.
        }
    }

    private static void Trigger(string directory)
    {
        try
        {
            File.WriteAllText($"{directory}/uevent", "change");
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // Only root may; others have no names in /dev either.
        }
    }

    private static int? Number(ReadOnlySpan<char> digits) =>
        digits is ['0', _, ..] ? null
            : int.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out var value) && value <= MaxIndex ? value : null;
}
