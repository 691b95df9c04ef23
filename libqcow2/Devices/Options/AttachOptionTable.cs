using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Exports.Ublk;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Devices.Options;

/// <summary>
/// Every option of <c>attach</c>, in the order of its help. An option is declared here, has a property in
/// <see cref="AttachOptions"/>, and that is all: the command line, JSON, rules about its value, help, completions and
/// docs/attach-options.md come from the declaration. What options mean together is in <see cref="AttachRules"/>.
/// </summary>
internal static class AttachOptionTable
{
    public static IReadOnlyList<AttachOption> All { get; } =
    [
        new AttachOption<string?>(new SocketKind(), o => o.SocketPath, (o, path) => o with { SocketPath = path })
        {
            Name = "socket",
            ValueName = "PATH",
            Help = "serve NBD on this unix socket instead of making a block device",
        },
        new AttachOption<ListenAddress?>(
            new ListenKind(), o => o.ListenHost is { } host ? new ListenAddress(host, o.ListenPort) : null,
            (o, address) => o with { ListenHost = address?.Host, ListenPort = address?.Port ?? AttachOptions.DefaultPort })
        {
            Name = "listen",
            ValueName = "[HOST][:PORT]",
            Help = $"serve NBD on this TCP address; PORT alone means localhost, and without a port it is {AttachOptions.DefaultPort}",
            IsStored = false,
        },
        new WordOption<DeviceTransport>(DeviceTransports.Words, o => o.Transport, SetTransport)
        {
            Name = "transport",
            Help = "which kind of block device to make; auto: ublk where the kernel has it, otherwise its NBD",
            IsOfBlockDevice = true,
        },
        new AttachOption<string?>(new NodeKind(), o => o.Device, SetDevice)
        {
            Name = "device",
            ValueName = "NODE",
            Help = "use this device node, such as /dev/ublkb3 or /dev/nbd0",
            Default = "the first free one",
            IsOfBlockDevice = true,
        },
        new AttachOption<int?>(
            new WholeKind(1, AttachRules.MaxDepth, "requests"), o => o.Depth, (o, depth) => o with { Depth = depth!.Value })
        {
            Name = "depth",
            ValueName = "N",
            Help = $"how many requests a queue of a ublk device holds, 1 to {AttachRules.MaxDepth}",
            IsOfBlockDevice = true,
        },
        new AttachOption<int?>(new BlockSizeKind(), o => o.BlockSize, (o, bytes) => o with { BlockSize = bytes!.Value })
        {
            Name = "block-size",
            Help = "the logical block size of the block device, in bytes",
            IsOfBlockDevice = true,
        },
        new WordOption<UblkMode>(UblkModes.Words, o => o.UblkMode, (o, mode) => o with { UblkMode = mode!.Value })
        {
            Name = "ublk-mode",
            Help = "how ublk moves data",
            IsOfBlockDevice = true,
        },
        new AttachOption<int?>(
            new WholeKind(1, AttachRules.MaxDeadTimeout, "seconds"), o => o.NbdTimeout,
            (o, seconds) => o with { NbdTimeout = seconds!.Value })
        {
            Name = "nbd-timeout",
            ValueName = "SECONDS",
            Help = "how long the kernel's NBD waits for a reply before it sends a request again on another connection",
            IsOfBlockDevice = true,
        },
        new AttachOption<int?>(
            new WholeKind(0, AttachRules.MaxDeadTimeout, "seconds"), o => o.DeadTimeout,
            (o, seconds) => o with { DeadTimeout = seconds!.Value })
        {
            Name = "dead-timeout",
            ValueName = "SECONDS",
            Help = "how long the kernel's NBD waits for a dead server before requests fail",
            IsOfBlockDevice = true,
        },
        new AttachOption<bool>(new FlagKind(), o => o.NullIo, (o, on) => o with { NullIo = on })
        {
            Name = "null-io",
            Help = "finish requests without doing any I/O: the ceiling of the benchmark, no data is kept",
            IsHidden = true,
            IsOfBlockDevice = true,
        },
        new AttachOption<bool>(new FlagKind(), o => o.DiscardLog, (o, on) => o with { DiscardLog = on })
        {
            Name = "discard-log",
            Help = "discard what a dead server of the image had answered but not committed, and open the image as it is",
            IsOfRecovery = true,
            Life = OptionLife.Start,
        },
        new AttachOption<string?>(new DeviceNameKind(), o => o.Name, (o, name) => o with { Name = name })
        {
            Name = "name",
            ValueName = "NAME",
            Help = "the name of the device",
            Default = "the file's name without its extension, made unique",
        },
        new AttachOption<bool>(new FlagKind(), o => o.ReadOnly, (o, on) => o with { ReadOnly = on })
        {
            Name = "read-only",
            IsOfImage = true,
            Help = "serve the disk read-only",
        },
        new AttachOption<bool>(new FlagKind(), o => o.Foreground, (o, on) => o with { Foreground = on })
        {
            Name = "foreground",
            Help = "run in the foreground; Ctrl-C and SIGTERM detach cleanly",
            IsOfRecovery = true,
            Life = OptionLife.Server,
        },
        new AttachOption<string?>(new TextKind(), o => o.RunCommand, (o, command) => o with { RunCommand = command })
        {
            Name = "run",
            ValueName = "CMD",
            Help = "run CMD in a shell with $uri, $unixsocket, $device and $name set, detach when it ends, and exit with its status; "
                + "on a private NBD socket, or with --transport on a block device",
            Life = OptionLife.Server,
        },
        new WordOption<ImageFormat>(ImageFormats.Words, o => o.Format, (o, format) => o with { Format = format!.Value })
        {
            Name = "format",
            IsOfImage = true,
            Help = "the format of the image; it is never probed",
        },
        new WordOption<CacheMode>(CacheModes.Words, o => o.Cache, (o, mode) => o with { Cache = mode!.Value })
        {
            Name = "cache",
            IsOfImage = true,
            Help = "none: bypass the host's page cache where the file system can; writeback: use it",
        },
        new AttachOption<long?>(
            new SizeKind(AttachRules.MinCacheSize, AttachRules.MaxCacheSize, "1M to 64G"), o => o.CacheSize,
            (o, bytes) => o with { CacheSize = bytes })
        {
            Name = "cache-size",
            IsOfImage = true,
            ValueName = "SIZE",
            Help = "how much memory to use for the tables of the image, such as 64M",
        },
        new AttachOption<int?>(new WholeKind(1, AttachRules.MaxQueues), o => o.Queues, (o, queues) => o with { Queues = queues })
        {
            Name = "queues",
            ValueName = "N",
            Help = $"how many event loops to run, each with connections or a queue of the block device, 1 to {AttachRules.MaxQueues}",
        },
        new WordOption<DiscardMode>(DiscardModes.Words, o => o.Discard, (o, mode) => o with { Discard = mode!.Value })
        {
            Name = "discard",
            IsOfImage = true,
            Help = "how to handle discards; unmap: free the clusters; ignore: do nothing",
        },
        new WordOption<DetectZeroes>(DetectZeroesModes.Words, o => o.DetectZeroes, (o, mode) => o with { DetectZeroes = mode!.Value })
        {
            Name = "detect-zeroes",
            IsOfImage = true,
            Help = "how to handle writes of zeroes; on: keep the clusters allocated; unmap: free them",
        },
        new AttachOption<string?>(new TextKind(), o => o.Snapshot, (o, snapshot) => o with { Snapshot = snapshot })
        {
            Name = "snapshot",
            IsOfImage = true,
            ValueName = "NAME_OR_ID",
            Help = "serve this internal snapshot, read-only",
        },
        new AttachOption<IReadOnlyList<string>>(new BitmapNamesKind(), o => o.Bitmaps, (o, names) => o with { Bitmaps = names })
        {
            Name = "bitmap",
            Member = "bitmaps",
            ValueName = "NAME",
            Help = "let NBD clients look at this persistent bitmap, as qemu:dirty-bitmap:NAME; may be repeated",
        },
        new AttachOption<bool>(new FlagKind(), o => o.NoBacking, (o, on) => o with { NoBacking = on })
        {
            Name = "no-backing",
            IsOfImage = true,
            Help = "refuse an image that has a backing file",
        },
        new AttachOption<IReadOnlyList<string>>(
            new DirectoriesKind(), o => o.BackingDirectories, (o, directories) => o with { BackingDirectories = directories })
        {
            Name = "backing-dir",
            IsOfImage = true,
            Member = "backing-dirs",
            ValueName = "DIR",
            Help = "allow backing files only in DIR; may be repeated",
        },
        new AttachOption<string?>(new FileKind(), o => o.Backing, (o, file) => o with { Backing = file })
        {
            Name = "backing",
            IsOfImage = true,
            ValueName = "FILE",
            Help = "use FILE as the backing file instead of the one that the image names; the image is not changed",
        },
        new AttachOption<string?>(new FileKind(), o => o.DataFile, (o, file) => o with { DataFile = file })
        {
            Name = "data-file",
            IsOfImage = true,
            ValueName = "FILE",
            Help = "use FILE as the external data file instead of the one that the image names; the image is not changed",
        },
        new WordOption<ImageFormat>(ImageFormats.Words, o => o.BackingFormat, (o, format) => o with { BackingFormat = format })
        {
            Name = "backing-format",
            IsOfImage = true,
            Help = "the format of backing files where no image states it; it is never probed",
        },
        .. RemoteOptions.All,
        .. KeyOptions.All,
        new AttachOption<int?>(
            new WholeKind(0, AttachRules.MaxLockTimeout, "seconds"), o => o.LockTimeout, (o, seconds) => o with { LockTimeout = seconds })
        {
            Name = "lock-timeout",
            IsOfImage = true,
            ValueName = "SECONDS",
            Help = "how long to wait for an image lock that no living process holds: a server that died may still be writing",
            Default = $"{AttachOptions.DefaultLockTimeout}, or {AttachOptions.DefaultRecoveryLockTimeout} with --recover",
            IsOfRecovery = true,
        },
        new WordOption<EnospcPolicy>(EnospcPolicies.Words, o => o.OnEnospc, (o, policy) => o with { OnEnospc = policy!.Value })
        {
            Name = "on-enospc",
            IsOfImage = true,
            Help = "how to handle a write when the host is out of space; report: fail it; stop: hold it and try again",
        },
        .. LimitOptions.All,
        new AttachOption<string?>(new FileKind(), o => o.PidFile, (o, path) => o with { PidFile = path })
        {
            Name = "pid-file",
            ValueName = "PATH",
            Help = "write the server's process ID to this file when clients can connect, and remove it at the end",
        },
        new WordOption<LogLevel>(LogLevels.Words, o => o.LogLevel, (o, level) => o with { LogLevel = level!.Value })
        {
            Name = "log-level",
            Help = "how much the server logs, to the system log or in the foreground to standard error",
            IsOfRecovery = true,
        },
        .. Internal,
    ];

    /// <summary>What our processes tell each other; nobody sets it by name.</summary>
    private static AttachOption[] Internal =>
    [
        new AttachOption<string?>(new FileKind(), o => o.Image.Length > 0 ? o.Image : null, (o, image) => o with { Image = image ?? "" })
        {
            Name = "image",
        },
        new AttachOption<string?>(new TextKind(), o => o.ListenHost, (o, host) => o with { ListenHost = host })
        {
            Name = "listen-host",
        },
        new AttachOption<int?>(
            new WholeKind(0, ushort.MaxValue), o => o.ListenHost is null ? null : o.ListenPort,
            (o, port) => o with { ListenPort = port ?? AttachOptions.DefaultPort })
        {
            Name = "listen-port",
        },
        new AttachOption<int?>(new WholeKind(0, int.MaxValue), o => o.ListenFd, (o, fd) => o with { ListenFd = fd })
        {
            Name = "listen-fd",
        },
        new AttachOption<bool>(new FlagKind(), o => o.DetachWhenUnused, (o, on) => o with { DetachWhenUnused = on })
        {
            Name = "detach-when-unused",
            IsOfBlockDevice = true,
        },
        new AttachOption<string?>(new TextKind(), o => o.RecoverDevice, (o, device) => o with { RecoverDevice = device })
        {
            Name = "recover-device",
            Life = OptionLife.Start,
        },
        new AttachOption<string?>(new TextKind(), o => o.OnlyImage, (o, identity) => o with { OnlyImage = identity })
        {
            Name = "only-image",
            Life = OptionLife.Start,
        },
        new AttachOption<int?>(
            new WholeKind(1, int.MaxValue), o => o.InheritedConnections > 0 ? o.InheritedConnections : null,
            (o, connections) => o with { InheritedConnections = connections ?? 0 })
        {
            Name = "inherited-connections",
            Life = OptionLife.Start,
        },
        KeyOptions.Held,
    ];

    /// <summary>The option that a program means.</summary>
    /// <exception cref="OutcomeException">usage: there is not one of that name, or nobody may set it by name</exception>
    public static AttachOption Named(string name) =>
        All.FirstOrDefault(option => option.IsPublic && option.Name == name)
            ?? throw new OutcomeException(OutcomeKind.Invalid, $"\"{name}\" is not an option of attach",
                $"it must be one of {string.Join(", ", Known.Select(option => option.Name))}",
                Nearest.Hint(name, Known.Select(option => option.Name)));

    /// <summary>The option that is to change while the device is attached.</summary>
    /// <exception cref="OutcomeException">usage: there is not one of that name, or it cannot change any more</exception>
    public static AttachOption Settable(string name) => Named(name) is { IsSettable: true } option ? option
        : throw new OutcomeException(OutcomeKind.Invalid, $"--{name} cannot change while the image is attached",
            $"only {string.Join(", ", All.Where(option => option.IsSettable).Select(option => option.Switch))} can");

    /// <summary>What a state file keeps: not what was meant for one start of a server.</summary>
    public static AttachOptions Kept(AttachOptions options) => Without(options, option => option.Life == OptionLife.Start);

    /// <summary>What the next server of the device has: not how this one was run.</summary>
    public static AttachOptions OfNextServer(AttachOptions options) => Without(options, option => option.Life != OptionLife.Device);

    private static IEnumerable<AttachOption> Known => All.Where(option => option is { IsPublic: true, IsHidden: false });

    private static AttachOptions Without(AttachOptions options, System.Func<AttachOption, bool> which) =>
        All.Where(which).Aggregate(options, (rest, option) => option.Reset(rest));

    /// <summary>The name of a node says what makes it.</summary>
    private static AttachOptions SetTransport(AttachOptions options, DeviceTransport? transport) => options with
    {
        Transport = transport is DeviceTransport.Auto && KernelNode.TryParse(options.Device) is { } node
            ? node.Transport : transport!.Value,
    };

    private static AttachOptions SetDevice(AttachOptions options, string? device) => options with
    {
        Device = device,
        Transport = options.Transport == DeviceTransport.Auto && KernelNode.TryParse(device) is { } node
            ? node.Transport : options.Transport,
    };
}
