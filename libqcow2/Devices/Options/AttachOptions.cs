using System;
using System.Collections.Generic;
using Qcow2Blk.Buffers;
using Qcow2Blk.Exports.NbdSocket;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Exports.Ublk;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Logging;
using Qcow2Blk.Remote;

namespace Qcow2Blk.Devices.Options;

/// <summary>Everything that <c>qcow2blk attach</c> can say. <see cref="AttachRules"/> tells which combinations make sense.</summary>
internal sealed record AttachOptions
{
    /// <summary>The image's absolute path. Its directory part is as the user wrote it: backing names are relative to it.</summary>
    public required string Image { get; init; }

    /// <summary>The format of the image itself; never probed.</summary>
    public ImageFormat Format { get; init; } = ImageFormat.Qcow2;

    /// <summary>The wanted device name; null for the file's stem, made unique.</summary>
    public string? Name { get; init; }

    /// <summary>Serve NBD on this unix socket (absolute path).</summary>
    public string? SocketPath { get; init; }

    /// <summary>Serve NBD on this TCP host (name or address); null for no TCP.</summary>
    public string? ListenHost { get; init; }

    /// <summary>The TCP port; 0 lets the kernel choose.</summary>
    public int ListenPort { get; init; } = DefaultPort;

    /// <summary>Serve NBD on this inherited listening socket (systemd socket activation).</summary>
    public int? ListenFd { get; init; }

    /// <summary>Which block device to make, where no NBD address was given.</summary>
    public DeviceTransport Transport { get; init; } = DeviceTransport.Auto;

    /// <summary>The wanted device node, such as /dev/ublkb3 or /dev/nbd0; null for the first free.</summary>
    public string? Device { get; init; }

    /// <summary>Requests that one queue of a ublk device holds.</summary>
    public int Depth { get; init; } = DefaultDepth;

    /// <summary>Logical block size of the block device, 512 or 4096 bytes.</summary>
    public int BlockSize { get; init; } = DefaultBlockSize;

    public UblkMode UblkMode { get; init; } = UblkMode.Auto;

    /// <summary>Seconds after which the kernel's NBD sends a request again on another connection.</summary>
    public int NbdTimeout { get; init; } = DefaultNbdTimeout;

    /// <summary>Seconds that the kernel's NBD waits for a server that is gone before requests fail.</summary>
    public int DeadTimeout { get; init; } = DefaultDeadTimeout;

    /// <summary>How fast the device may be.</summary>
    public LimitRates Limits { get; init; }

    /// <summary>Requests end without I/O: the ceiling that the benchmark compares with. Not for data.</summary>
    public bool NullIo { get; init; }

    /// <summary>Take this device node over from a server that is gone, instead of making one.</summary>
    public string? RecoverDevice { get; init; }

    /// <summary>
    /// Detach when the block device had a user and has none any more: what <c>detach --lazy</c> asks for, and a mount that
    /// attached its image. Kept in the state file: a server that dies takes no user's end with it.
    /// </summary>
    public bool DetachWhenUnused { get; init; }

    /// <summary>
    /// Give up what a dead server of this image had answered and not committed: the image is opened as it is. True of one
    /// attach only, never kept in a state file.
    /// </summary>
    public bool DiscardLog { get; init; }

    /// <summary>
    /// Connections of that device which the previous server left open: each came to us as two descriptors, the first as
    /// <see cref="InheritedDescriptors.First"/>. True of one process only, never kept in a state file.
    /// </summary>
    public int InheritedConnections { get; init; }

    /// <summary>
    /// The file that the server before had open (<see cref="DeviceRecord.ImageIdentity"/>): no other one is opened as its next.
    /// True of one process only, never kept in a state file.
    /// </summary>
    public string? OnlyImage { get; init; }

    public bool ReadOnly { get; init; }

    /// <summary>Serve in the process of the command instead of a server of its own.</summary>
    public bool Foreground { get; init; }

    /// <summary>Serve while this shell command runs, then detach.</summary>
    public string? RunCommand { get; init; }

    public CacheMode Cache { get; init; } = CacheMode.None;

    /// <summary>Bytes of metadata cache; null lets the engine choose.</summary>
    public long? CacheSize { get; init; }

    /// <summary>Event loops that serve connections; null lets the engine choose.</summary>
    public int? Queues { get; init; }

    public DiscardMode Discard { get; init; } = DiscardMode.Unmap;

    public DetectZeroes DetectZeroes { get; init; } = DetectZeroes.Off;

    /// <summary>Serve this internal snapshot (ID or name), read-only; null for the active disk.</summary>
    public string? Snapshot { get; init; }

    /// <summary>The persistent bitmaps that NBD clients may look at, as contexts "qemu:dirty-bitmap:NAME".</summary>
    public IReadOnlyList<string> Bitmaps { get; init; } = [];

    /// <summary>Refuse an image that names a backing file.</summary>
    public bool NoBacking { get; init; }

    /// <summary>If not empty: backing files must lie in one of these directories (absolute, symbolic links resolved).</summary>
    public IReadOnlyList<string> BackingDirectories { get; init; } = [];

    /// <summary>The external data file, in place of the one that the image names; null for that one.</summary>
    public string? DataFile { get; init; }

    /// <summary>Seconds to wait for image locks that nobody alive holds; null for the default.</summary>
    public int? LockTimeout { get; init; }

    /// <summary>The backing file of the image, in place of the one that it names (absolute path); null for that one.</summary>
    public string? Backing { get; init; }

    /// <summary>The format of every backing file of the chain whose overlay states none; null refuses such chains.</summary>
    public ImageFormat? BackingFormat { get; init; }

    /// <summary>The URL of the base, in place of the first that an image names, or of a file that is not there; null for none.</summary>
    public string? Base { get; init; }

    /// <summary>Whether URLs that images name are opened.</summary>
    public bool AllowRemoteBacking { get; init; }

    /// <summary>
    /// Whether the image belongs to its base in a store as that is now, whatever version it was written over. True of one attach only,
    /// never kept in a state file.
    /// </summary>
    public bool RebindBase { get; init; }

    /// <summary>How bases in stores are read, as it was said: <see cref="RemoteOptions.Resolve"/> adds what holds otherwise.</summary>
    public RemoteSettings Remote { get; init; } = new();

    /// <summary>Seconds that requests wait for a source that is away; null for the default.</summary>
    public int? SourceTimeout { get; init; }

    /// <summary>Files that hold keys of encrypted images of the chain (absolute paths); each key is tried on each such image.</summary>
    public IReadOnlyList<string> KeyFiles { get; init; } = [];

    /// <summary>systemd credentials that hold keys.</summary>
    public IReadOnlyList<string> KeyCredentials { get; init; } = [];

    /// <summary>Environment variables that hold keys.</summary>
    public IReadOnlyList<string> KeyVariables { get; init; } = [];

    /// <summary>Where the command gets a key from, before it starts a server: then it is <see cref="HeldKey"/>.</summary>
    public int? KeyFd { get; init; }

    /// <summary>Whether the command asks for a key, before it starts a server: then it is <see cref="HeldKey"/>.</summary>
    public bool KeyPrompt { get; init; }

    /// <summary>A key that nothing can be asked for again: a server hands it to the next one. Never in JSON or a state file.</summary>
    internal SecretMemory? HeldKey { get; init; }

    /// <summary>Whether there is, or was, such a key: true where <see cref="HeldKey"/> is lost, too.</summary>
    internal bool KeyIsHeld { get; init; }

    /// <summary>Whether any key was given.</summary>
    internal bool HasKey => KeyFiles.Count + KeyCredentials.Count + KeyVariables.Count > 0 || HeldKey is not null;

    public EnospcPolicy OnEnospc { get; init; } = EnospcPolicy.Report;

    /// <summary>Written when clients can connect, removed at the end (absolute path).</summary>
    public string? PidFile { get; init; }

    public LogLevel LogLevel { get; init; } = LogLevel.Warning;

    public const int DefaultDepth = 128;

    public const int DefaultBlockSize = 512;

    public const int DefaultNbdTimeout = 30;

    public const int DefaultDeadTimeout = 600;

    /// <summary>Last writes of a server that was killed end sooner, on a busy disk too.</summary>
    public const int DefaultLockTimeout = 5;

    /// <summary>A device that is taken over has users, whose requests wait anyway: giving up would cost them more.</summary>
    public const int DefaultRecoveryLockTimeout = 20;

    public const int DefaultPort = NbdUri.DefaultPort;

    /// <summary>How long to wait for image locks that nobody alive holds.</summary>
    public TimeSpan EffectiveLockTimeout =>
        TimeSpan.FromSeconds(LockTimeout ?? (RecoverDevice is null ? DefaultLockTimeout : DefaultRecoveryLockTimeout));

    /// <summary>
    /// Seconds after which the kernel's NBD takes a connection for dead: more than a request may wait for the source of a base,
    /// which is no fault of the connection.
    /// </summary>
    public int EffectiveNbdTimeout => Base is null && !AllowRemoteBacking ? NbdTimeout
        : Math.Max(NbdTimeout, (SourceTimeout ?? RemoteSettings.DefaultSourceTimeout) + DefaultNbdTimeout);

    /// <summary>Whether the device cannot be written: asked for, or a snapshot.</summary>
    public bool EffectiveReadOnly => ReadOnly || Snapshot is not null;

    /// <summary>Whether the disk becomes a block device of the kernel: no NBD address was given.</summary>
    public bool IsBlockDevice => !IsForUsAlone && SocketPath is null && ListenHost is null && ListenFd is null;

    /// <summary>
    /// The image is opened for an operation on it alone, which reads nothing of its base: if that is in a store and nothing was said
    /// of it, the operation does without.
    /// </summary>
    internal bool IsForEditAlone { get; init; }

    /// <summary>The device was served before, by this process or by the one that it takes the place of: what it records goes on.</summary>
    internal bool IsOpenedAgain { get; init; }

    /// <summary>The image is opened by a program for itself: nothing is served.</summary>
    internal bool IsForUsAlone { get; init; }

    /// <summary>Whether the server keeps a recovery log: users of a block device do not notice that its server died.</summary>
    public bool KeepsLog => IsBlockDevice && !NullIo && !EffectiveReadOnly && Format == ImageFormat.Qcow2;

    /// <summary>Whether the server lives in the process of the command.</summary>
    public bool ServesInProcess => Foreground || RunCommand is not null || ListenFd is not null;
}
