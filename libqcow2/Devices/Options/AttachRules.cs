using System;
using System.Collections.Generic;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Exports.Ublk;
using Qcow2Blk.Format;
using Qcow2Blk.Image;

namespace Qcow2Blk.Devices.Options;

/// <summary>
/// Which attach options make sense together: the one place that says so. What each may be by itself says <see cref="AttachOptionTable"/>.
/// </summary>
internal static class AttachRules
{
    /// <summary>Bytes of sockaddr_un.sun_path with its terminating NUL (unix(7)).</summary>
    public const int MaxSocketPathBytes = 107;

    /// <summary>More loops than this never pay on the hardware of today; a typo should not start a thousand threads.</summary>
    public const int MaxQueues = 64;

    /// <summary>Less cannot hold the tables of one request of every kind at once.</summary>
    public const long MinCacheSize = 1 << 20;

    /// <summary>More than an L2 table set can be (32 MiB of L1 entries), and a typo's worth of memory.</summary>
    public const long MaxCacheSize = 64L << 30;

    /// <summary>
    /// Each tag of a ublk queue may need a buffer of its own of the largest request (512 KiB): 1024 of them are half a
    /// gigabyte for one queue, and no disk is faster with more.
    /// </summary>
    public const int MaxDepth = 1024;

    /// <summary>A day: past that a disk that does not answer is no disk.</summary>
    public const int MaxDeadTimeout = 86400;

    /// <summary>An hour: storage whose last writes take longer is dead.</summary>
    public const int MaxLockTimeout = 3600;

    /// <exception cref="OutcomeException">usage: the first rule that is broken</exception>
    public static void Check(AttachOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        CheckTransport(options);
        CheckImage(options);
        RemoteOptions.Check(options);
        CheckValues(options);
    }

    /// <summary>What each may be by itself.</summary>
    /// <exception cref="OutcomeException">usage: the first value that an option cannot have</exception>
    public static void CheckValues(AttachOptions options)
    {
        foreach (var option in AttachOptionTable.All)
            option.Check(options);
    }

    private static void CheckTransport(AttachOptions options)
    {
        if (options.ListenFd is not null && (options.SocketPath is not null || options.ListenHost is not null))
        {
            throw Usage("--socket and --listen cannot be combined with an activating socket", "LISTEN_FDS is set",
                "leave them out: the service manager sets the address");
        }

        if (options.ListenFd is not null && options.RunCommand is not null)
            throw Usage("--run cannot be combined with an activating socket", "LISTEN_FDS is set", null);
        if (options.SocketPath is not null && options.ListenHost is not null)
            throw Usage("--socket and --listen cannot be used together", "a device has one address", "give one of them");
        if (options.IsBlockDevice)
            CheckBlockDevice(options);
    }

    /// <summary>Options that only a block device of the kernel has, beside an address that makes an NBD server.</summary>
    /// <param name="given">the options as they were written: --depth</param>
    /// <param name="options">all of them</param>
    /// <exception cref="OutcomeException">usage</exception>
    public static void CheckGiven(IReadOnlyList<string> given, AttachOptions options)
    {
        ArgumentNullException.ThrowIfNull(given);
        ArgumentNullException.ThrowIfNull(options);
        if (given.Count == 0 || options.IsBlockDevice)
            return;
        var address = options.SocketPath is not null ? "--socket" : options.ListenHost is not null ? "--listen" : "an activating socket";
        throw Usage($"{given[0]} cannot be combined with {address}", "it only applies to kernel block devices",
            $"leave {(options.ListenFd is null ? address : given[0])} out");
    }

    private static void CheckBlockDevice(AttachOptions options)
    {
        if (options.Device is { } device)
            CheckNode(device, options.Transport);
        if (options.Bitmaps.Count > 0)
            throw Usage("--bitmap needs --socket or --listen", "a block device of the kernel cannot show bitmaps", null);
        if (options.Transport == DeviceTransport.Nbd && options.UblkMode != UblkMode.Auto)
            throw Usage("--ublk-mode needs --transport ublk or auto", "kernel NBD has only one way to move data", null);
    }

    private static void CheckNode(string device, DeviceTransport transport)
    {
        if (transport != DeviceTransport.Auto && KernelNode.TryParse(device) is { } node && transport != node.Transport)
        {
            throw Usage($"--device {device} does not fit --transport {DeviceTransports.Words.Of(transport)}",
                "each transport has its own nodes", $"leave --transport out: the node's name implies it");
        }
    }

    private static void CheckImage(AttachOptions options)
    {
        if (options.Image.Length == 0 || options.Image.Contains('\0', StringComparison.Ordinal))
            throw Usage("IMAGE is not a file name", "it is empty or contains a NUL", null);
        if (options.Discard == DiscardMode.Ignore && options.DetectZeroes == DetectZeroes.Unmap)
        {
            throw Usage("--detect-zeroes unmap needs --discard unmap", "--discard ignore frees nothing",
                "use --detect-zeroes on");
        }

        if (options.KeyFd is not null && options.KeyPrompt)
            throw Usage("--key-fd and --key-prompt cannot be used together", "one key comes with the command", "leave one of them out");
        if (options.NoBacking && options.BackingDirectories.Count > 0)
            throw Usage("--no-backing and --backing-dir cannot be used together", "the first allows no backing file at all", null);
        if (options.DiscardLog && !options.KeepsLog)
        {
            throw Usage("--discard-log needs a writable block device of a qcow2 image", "only such a device has a recovery log",
                "leave it out");
        }

        if (options.NoBacking && (options.Backing is not null || options.BackingFormat is not null))
            throw Usage($"--no-backing and {Given(options)} cannot be used together", "the first allows no backing file at all", null);
        if (options.Format != ImageFormat.Raw)
            return;
        if (options.HasKey || options.KeyFd is not null || options.KeyPrompt)
            throw Usage("a key needs --format qcow2", "a raw image is not encrypted by its format", "leave the key out");
        if (options.DataFile is not null)
            throw Usage("--data-file needs --format qcow2", "a raw image has no external data file", null);
        if (options.Snapshot is not null)
            throw Usage("--snapshot needs --format qcow2", "a raw image has no internal snapshots", null);
        if (options.Bitmaps.Count > 0)
            throw Usage("--bitmap needs --format qcow2", "a raw image has no bitmaps", null);
        if (options.NoBacking || options.BackingDirectories.Count > 0)
            throw Usage("--no-backing and --backing-dir need --format qcow2", "a raw image has no backing file", null);
        if (options.Backing is not null || options.BackingFormat is not null)
            throw Usage($"{Given(options)} needs --format qcow2", "a raw image has no backing file", null);
    }

    private static string Given(AttachOptions options) => options.Backing is null ? "--backing-format" : "--backing";

    private static OutcomeException Usage(string what, string why, string? hint) =>
        new(OutcomeKind.Invalid, what, why, hint);
}
