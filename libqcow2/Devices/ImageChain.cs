using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Crypto;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Image.Raw;
using Qcow2Blk.Interop;
using Qcow2Blk.Logging;
using Qcow2Blk.Remote.Bases;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Devices;

/// <summary>One image of an opened chain, for the status report.</summary>
internal sealed record ChainLink(string Path, string Format, long Size, bool Direct)
{
    /// <summary>Null of a raw image.</summary>
    public Header? Header { get; init; }

    /// <summary>Null if it has none.</summary>
    public LuksHeader? Luks { get; init; }

    /// <summary>The base in a store; null of a file.</summary>
    public RemoteStorage? Remote { get; init; }
}

/// <summary>Where an image logs what it has not committed, and what to do with the log of a dead server.</summary>
/// <param name="Path">of the log; null for none</param>
/// <param name="Replay">whether it is a dead server's, to be replayed first</param>
/// <param name="Discard">whether it is given up</param>
/// <param name="OnlyImage">the file that this server had open, by its <see cref="FileIdentity"/>; null if that is not known</param>
internal readonly record struct RecoveryLogChoice(string? Path, bool Replay, bool Discard = false, string? OnlyImage = null);

/// <summary>
/// Opens an image with everything below it: files, locks, backing files. Backing files are a trust decision: their
/// formats are never probed, and the options may forbid them or say where they may be.
/// </summary>
/// <remarks>
/// In two loops: files are opened, locked and checked from the top down to the base, then images are made of them from
/// the base up. How many there are an image says, so nothing calls itself.
/// </remarks>
internal sealed partial class ImageChain
{
    private readonly AttachOptions _options;
    private readonly ILog _log;
    private readonly RecoveryLogChoice _recovery;
    private readonly ImageLockPatience _locks;
    private readonly IReadOnlyList<int> _given;
    private readonly List<ChainLink> _links = [];
    private readonly HashSet<FileIdentity> _seen = [];

    // What is open: files of which no image was made yet, the top first, and the image made last, which has those below it.
    private readonly List<LockedFile> _files = [];
    private IDisk? _disk;

    private ImageChain(AttachOptions options, RecoveryLogChoice recovery, TimeSpan lockTimeout, ILog log, IReadOnlyList<int> given)
    {
        _given = given;
        _recovery = recovery;
        _locks = new ImageLockPatience(lockTimeout, log.Info);
        _options = options;
        _log = log;
    }

    /// <summary>A file that is locked, with its header if it is a qcow2 image.</summary>
    /// <param name="File">the image</param>
    /// <param name="Header">null of a raw image</param>
    /// <param name="Data">its external data file, locked too; null if it has none</param>
    private readonly record struct LockedFile(IBlockStorage File, Header? Header, IBlockStorage? Data = null)
    {
        /// <summary>Whether the page cache is passed by.</summary>
        public bool Direct => File is FileStorage { Direct: true };
    }

    private bool ReadOnlyTop => _options.EffectiveReadOnly;

    private BackingChoice Choice => new(_options.Backing, _options.BackingFormat);

    /// <summary>Opens the chain. On the home loop.</summary>
    /// <param name="options">what to open, and how</param>
    /// <param name="log">told of what was decided, and of trouble later</param>
    /// <param name="recovery">the log of what is not committed</param>
    /// <param name="lockTimeout">how long locks may take that nobody alive holds; null for what the options say</param>
    /// <exception cref="ImageFormatException">an image is damaged or not supported</exception>
    /// <exception cref="ImageLockedException">somebody else uses an image</exception>
    /// <exception cref="IOException">a file cannot be opened or read</exception>
    public static LoopTask<(IDisk Disk, IReadOnlyList<ChainLink> Links)> OpenAsync(
        AttachOptions options, ILog log, RecoveryLogChoice recovery = default, TimeSpan? lockTimeout = null) =>
        OpenAsync(new ImageChain(options, recovery, lockTimeout ?? options.EffectiveLockTimeout, log, []));

    /// <summary>As the other, with all files of the chain open already.</summary>
    /// <param name="given">their descriptors, the image's first; they stay the caller's. Empty to open files by name</param>
    /// <param name="options">how to open the image; its path is for messages only, and may be empty</param>
    /// <param name="log">told of what was decided, and of trouble later</param>
    public static LoopTask<(IDisk Disk, IReadOnlyList<ChainLink> Links)> OpenAsync(
        IReadOnlyList<int> given, AttachOptions options, ILog log) =>
        OpenAsync(new ImageChain(options, default, options.EffectiveLockTimeout, log, given));

    private static async LoopTask<(IDisk Disk, IReadOnlyList<ChainLink> Links)> OpenAsync(ImageChain chain)
    {
        try
        {
            await chain.OpenFilesAsync();
            await chain.OpenImagesAsync();
            return (chain._disk!, chain._links);
        }
        catch
        {
            await chain.CloseAsync();
            throw;
        }
    }

    /// <summary>Goes down the chain until an image has no backing file.</summary>
    private async LoopTask<int> OpenFilesAsync()
    {
        using (var top = _given.Count == 0 ? Find(_options.Image) : Given(_given[0], _options.Image.Length == 0 ? null : _options.Image))
        {
            RefuseOtherImage(top);
            await OpenFileAsync(top, _options.Format, ReadOnlyTop);
        }

        while (_files[^1].Header is { } overlay && await OpenBelowAsync(overlay))
        {
            if (_files.Count > Limits.MaxBackingDepth)
                throw Bad(overlay, $"the chain has more than {Limits.MaxBackingDepth} images");
        }

        RefuseUnusedBase();
        await BindAsync();
        if (_given.Count > _files.Count)
        {
            throw new OutcomeException(OutcomeKind.Invalid, $"cannot open {_files[0].File.Path}",
                $"{_given.Count} descriptors were given, and its chain has {_files.Count} images");
        }

        return 0;
    }

    /// <summary>Opens what lies below the image opened last.</summary>
    /// <returns>false if nothing does</returns>
    private async LoopTask<bool> OpenBelowAsync(Header overlay)
    {
        if (_options.NoBacking && overlay.BackingFile is { } name)
            throw Bad(overlay, $"the image has backing file \"{name}\", and --no-backing allows none");
        if (UrlBelow(overlay) is { } url)
        {
            await OpenRemoteAsync(overlay, url);
            return true;
        }

        if (Choice.Below(overlay, isFirst: _files.Count == 1) is not { } below)
            return false;
        using var found = FindBelow(overlay, below);
        if (found is null)
        {
            await OpenRemoteAsync(overlay, UseBase(overlay));
            return true;
        }

        RefuseForeignDirectory(overlay, found);
        if (_seen.Contains(found.Identity))
            throw new ImageFormatException(found.Path, "backing_file", "the backing chain leads back to this image");
        await OpenFileAsync(found, below.Format, readOnly: true);
        return true;
    }

    /// <summary>Opens and locks a file, and looks at its header.</summary>
    private async LoopTask<int> OpenFileAsync(FoundFile found, ImageFormat format, bool readOnly)
    {
        var (file, header) = await LockAsync(OpenFile(found, readOnly, _options.Cache == CacheMode.None), format, readOnly);
        if (IsTooFine(file, header, readOnly))
        {
            if (found.GivenFlags is not null)
            {
                file.Dispose();
                throw new IOException($"cannot open {found.Path}: it cannot be written through a descriptor with O_DIRECT"
                    + $" in whole sectors of {file.OffsetAlignment} bytes");
            }

            // From the start again: nothing that was read under the former lock counts any more.
            _log.Warning($"{found.Path} cannot be written with O_DIRECT in whole sectors of {file.OffsetAlignment} bytes:"
                + " using the page cache");
            file.Dispose();
            (file, header) = await LockAsync(OpenFile(found, readOnly, direct: false), format, readOnly);
        }

        _files.Add(new LockedFile(file, header));
        _seen.Add(found.Identity);
        if (header is not null && await OpenDataFileAsync(header, readOnly) is { } data)
            _files[^1] = _files[^1] with { Data = data };
        return 0;
    }

    private async LoopTask<(FileStorage File, Header? Header)> LockAsync(FileStorage file, ImageFormat format, bool readOnly)
    {
        try
        {
            // A snapshot does not change while others write the image, and who deletes it looks for this lock.
            var besideWriter = _files.Count == 0 && readOnly && _options.Snapshot is not null;
            file.Lock = await _locks.AcquireAsync(file.Descriptor, file.Path, write: !readOnly, besideWriter);
            if (format == ImageFormat.Raw)
                return (file, null);

            // Nothing of the file is believed before the locks are held: a writer could be changing it.
            var header = await ImageOpener.ReadHeaderAsync(file);
            header.RefuseUnsupported(forWriting: !readOnly);
            return (file, header);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Makes images of the files, from the base up.</summary>
    private async LoopTask<int> OpenImagesAsync()
    {
        while (_files.Count > 0)
        {
            var opened = _files[^1];
            var (file, header, data) = opened;
            var isTop = _files.Count == 1;
            var disk = header is null
                ? new RawDisk(file, readOnly: !isTop || ReadOnlyTop, _options.Discard, _log.Error)
                : (IDisk)await OpenImageAsync(file, header, data, OptionsOf(isTop));
            _files.RemoveAt(_files.Count - 1);
            _disk = disk;
            var format = header is null ? ImageFormat.Raw : ImageFormat.Qcow2;
            FetchTablesAhead(file, disk);
            _links.Add(new ChainLink(file.Path, ImageFormats.Words.Of(format), disk.Size, opened.Direct)
            {
                Remote = file as RemoteStorage,
                Header = header,
                Luks = header?.Encryption is null ? null : await DiskKey.ReadHeaderAsync(file, header),
            });
        }

        _links.Reverse();
        ServeBases();
        return 0;
    }

    private ImageOptions OptionsOf(bool isTop) => new()
    {
        ReadOnly = !isTop || ReadOnlyTop,
        ResidentCache = _options.IsBlockDevice,
        RecoveryLog = isTop ? _recovery.Path : null,
        Replay = isTop && _recovery.Replay,
        DiscardLog = isTop && _recovery.Discard,
        CacheBytes = _options.CacheSize ?? ImageOptions.DefaultCacheBytes,
        Discard = _options.Discard,
        DetectZeroes = isTop ? _options.DetectZeroes : DetectZeroes.Off,
        Snapshot = isTop ? _options.Snapshot : null,
        Report = _log.Error,
        Progress = _log.Progress,
    };

    /// <summary>Lets go of everything after a refusal.</summary>
    private async LoopTask<int> CloseAsync()
    {
        foreach (var (file, _, data) in _files)
        {
            file.Dispose();
            data?.Dispose();
        }

        return _disk is null ? 0 : await _disk.CloseAsync();
    }

    private static FoundFile Find(string path)
    {
        var error = FoundFile.Find(path, out var found);
        return error == 0 ? found! : throw Refused(path, error);
    }

    private static FoundFile Given(int descriptor, string? path)
    {
        var error = FoundFile.OfDescriptor(descriptor, path, out var found);
        return error == 0 ? found! : throw Refused(path ?? $"descriptor {descriptor}", error);
    }

    /// <returns>null if the file is not there, and --base says what is to take its place</returns>
    private FoundFile? FindBelow(Header overlay, in BackingReference below)
    {
        if (_given.Count > 0)
        {
            return _files.Count < _given.Count
                ? Given(_given[_files.Count], null)
                : throw Bad(overlay, $"descriptors were given for {_given.Count} images of the chain, and none for {below.What}");
        }

        try
        {
            return Find(below.Path);
        }
        catch (FileNotFoundException) when (BaseIsUnused)
        {
            return null;
        }
        catch (FileNotFoundException)
        {
            throw new ImageFormatException(overlay.Path, "backing_file", $"{below.What} does not exist ({below.Path})")
            {
                IsMissing = true,
            };
        }
    }

    /// <summary>Another file of that name would be another disk under a mounted file system.</summary>
    private void RefuseOtherImage(FoundFile top)
    {
        if (_recovery.OnlyImage is { } then && top.Identity.ToString() != then)
            throw new IOException($"{top.Path} is no longer the file that was attached");
    }

    /// <summary>Of the file that was found, not of its name: that may lead elsewhere by now.</summary>
    private void RefuseForeignDirectory(Header overlay, FoundFile found)
    {
        if (_options.BackingDirectories.Count > 0 && !_options.BackingDirectories.Any(found.LiesIn))
            throw Bad(overlay, $"backing file {found.RealName} is not in a directory given with --backing-dir");
    }

    private static ImageFormatException Bad(Header overlay, string why) => new(overlay.Path, "backing_file", why);

    private FileStorage OpenFile(FoundFile found, bool readOnly, bool direct)
    {
        if (found.GivenFlags is { } flags)
        {
            if (!readOnly && (flags & O_ACCMODE) != O_RDWR)
                throw new UnauthorizedAccessException($"cannot open {found.Path}: its descriptor is not open for reading and writing");
            direct = (flags & O_DIRECT) != 0;
        }

        var error = FileStorage.Open(found, readOnly, direct, out var file);
        if (error == -Errno.EINVAL && direct)
        {
            error = FileStorage.Open(found, readOnly, direct: false, out file);
            if (error == 0)
                _log.Warning($"the file system of {found.Path} does not support O_DIRECT: using the page cache");
        }

        return error == 0 ? file! : throw Refused(found.Path, error);
    }

    private static Exception Refused(string path, int error) => error switch
    {
        -Errno.ENOENT => new FileNotFoundException($"cannot open {path}: {Errno.Text(error)}"),
        -Errno.EACCES or -Errno.EPERM => new UnauthorizedAccessException($"cannot open {path}: {Errno.Text(error)}"),
        -Errno.EROFS => new IOException($"cannot open {path} for writing: {Errno.Text(error)}", -error),
        _ => new IOException($"cannot open {path}: {Errno.Text(error)}", -error),
    };

    /// <summary>What has clusters smaller than the device's sectors, or ends inside one, cannot be written past the page cache.</summary>
    private static bool IsTooFine(FileStorage file, Header? header, bool readOnly) =>
        !readOnly && (header is null ? file.Length % file.OffsetAlignment != 0 : header.ClusterSize < file.OffsetAlignment);
}
