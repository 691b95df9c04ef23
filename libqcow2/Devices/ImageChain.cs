using System;
using System.Collections.Generic;
using System.IO;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Devices;

/// <summary>One image of an opened chain, for the status report.</summary>
public sealed record ChainLink(string Path, string Format, long Size, bool Direct);

/// <summary>Where an image logs what it has not committed, and what becomes of a log that a dead server left there.</summary>
internal readonly record struct RecoveryLogChoice(string? Path, bool Replay, bool Discard = false);

/// <summary>
/// Opens an image with everything below it: files, locks, backing files. Backing files are a trust decision: their
/// formats are never probed, and the options may forbid them or say where they may be.
/// </summary>
internal sealed class ImageChain
{
    private readonly AttachOptions _options;
    private readonly ILog _log;
    private readonly RecoveryLogChoice _recovery;
    private readonly ImageLockPatience _locks;
    private readonly List<ChainLink> _links = [];
    private readonly List<(uint, uint, ulong)> _seen = [];

    private ImageChain(AttachOptions options, RecoveryLogChoice recovery, TimeSpan lockTimeout, ILog log)
    {
        _recovery = recovery;
        _locks = new ImageLockPatience(lockTimeout, log.Info);
        _options = options;
        _log = log;
    }

    /// <summary>Opens the chain. On the home loop.</summary>
    /// <param name="options">what to open, and how</param>
    /// <param name="log">told of what was decided, and of trouble later</param>
    /// <param name="recovery">the log of what is not committed</param>
    /// <param name="lockTimeout">how long locks may take that nobody alive holds; null for what the options say</param>
    /// <exception cref="ImageFormatException">an image is damaged or not supported</exception>
    /// <exception cref="ImageLockedException">somebody else uses an image</exception>
    /// <exception cref="IOException">a file cannot be opened or read</exception>
    public static async LoopTask<(IDisk Disk, IReadOnlyList<ChainLink> Links)> OpenAsync(
        AttachOptions options, ILog log, RecoveryLogChoice recovery = default, TimeSpan? lockTimeout = null)
    {
        var chain = new ImageChain(options, recovery, lockTimeout ?? options.EffectiveLockTimeout, log);
        var format = options.Format == AttachFormat.Raw ? ImageFormat.Raw : ImageFormat.Qcow2;
        var disk = await chain.OpenLinkAsync(options.Image, format, options.EffectiveReadOnly, isTop: true);
        chain._links.Reverse();
        return (disk, chain._links);
    }

    private LoopTask<IDisk> OpenLinkAsync(string path, ImageFormat format, bool readOnly, bool isTop) =>
        OpenFileAsync(OpenFile(path, readOnly, _options.Cache == CacheMode.None), path, format, readOnly, isTop);

    private async LoopTask<IDisk> OpenFileAsync(FileStorage file, string path, ImageFormat format, bool readOnly, bool isTop)
    {
        try
        {
            RefuseCycle(file);
            file.Lock = await _locks.AcquireAsync(file.Descriptor, path, write: !readOnly);
            if (format == ImageFormat.Raw && (readOnly || file.Length % file.OffsetAlignment == 0))
                return Raw(file, readOnly);

            if (format == ImageFormat.Qcow2)
            {
                // Nothing of the file is believed before the locks are held: a writer could be changing it.
                var header = await Qcow2Image.ReadHeaderAsync(file);
                header.RefuseUnsupported(forWriting: !readOnly);
                if (!IsTooFine(file, header, readOnly))
                    return await OpenQcow2Async(file, header, readOnly, isTop);
            }
        }
        catch
        {
            file.Dispose();
            throw;
        }

        // From the start again: nothing that was read under the former lock counts any more.
        _log.Warning($"{path} cannot be written past the page cache in whole sectors of {file.OffsetAlignment} bytes: using the page cache");
        _seen.Remove(file.Identity);
        file.Dispose();
        return await OpenFileAsync(OpenFile(path, readOnly, direct: false), path, format, readOnly, isTop);
    }

    private RawDisk Raw(FileStorage file, bool readOnly)
    {
        var disk = new RawDisk(file, readOnly, _options.Discard == DiscardMode.Unmap);
        _links.Add(new ChainLink(file.Path, "raw", disk.Size, file.Direct));
        return disk;
    }

    private async LoopTask<IDisk> OpenQcow2Async(FileStorage file, Header header, bool readOnly, bool isTop)
    {
        var backing = await OpenBackingAsync(file.Path, header);
        try
        {
            var options = new ImageOptions
            {
                ReadOnly = readOnly,
                ResidentCache = _options.IsBlockDevice,
                RecoveryLog = isTop ? _recovery.Path : null,
                Replay = isTop && _recovery.Replay,
                DiscardLog = isTop && _recovery.Discard,
                CacheBytes = _options.CacheSize ?? ImageOptions.DefaultCacheBytes,
                Unmap = _options.Discard == DiscardMode.Unmap,
                DetectZeroes = isTop ? (DetectZeroes)_options.DetectZeroes : DetectZeroes.Off,
                Snapshot = isTop ? _options.Snapshot : null,
                Report = _log.Error,
            };
            var image = await Qcow2Image.OpenAsync(file, options, backing);
            _links.Add(new ChainLink(file.Path, "qcow2", image.Size, file.Direct));
            return image;
        }
        catch
        {
            if (backing is not null)
                await backing.CloseAsync();
            throw;
        }
    }

    private async LoopTask<IDisk?> OpenBackingAsync(string overlay, Header header)
    {
        if (header.BackingFile is null)
            return null;
        if (_options.NoBacking)
            throw new ImageFormatException(overlay, "backing_file", $"the image has backing file \"{header.BackingFile}\", and --no-backing allows none");
        var format = BackingFormatRule.Require(header);
        var path = BackingPath.Resolve(overlay, header.BackingFile);
        RefuseForeignDirectory(overlay, path);
        if (_seen.Count >= Limits.MaxBackingDepth)
            throw new ImageFormatException(overlay, "backing_file", $"the chain has more than {Limits.MaxBackingDepth} images");
        try
        {
            return await OpenLinkAsync(path, format, readOnly: true, isTop: false);
        }
        catch (FileNotFoundException)
        {
            throw new ImageFormatException(overlay, "backing_file", $"backing file \"{header.BackingFile}\" does not exist ({path})");
        }
    }

    private void RefuseForeignDirectory(string overlay, string path)
    {
        if (_options.BackingDirectories.Count == 0)
            return;
        var real = RealPath.Of(path) ?? path;
        foreach (var directory in _options.BackingDirectories)
        {
            var allowed = (RealPath.Of(directory) ?? directory).TrimEnd('/') + "/";
            if (real.StartsWith(allowed, StringComparison.Ordinal))
                return;
        }

        throw new ImageFormatException(overlay, "backing_file", $"backing file {real} is in none of the directories given with --backing-dir");
    }

    private void RefuseCycle(FileStorage file)
    {
        if (_seen.Contains(file.Identity))
            throw new ImageFormatException(file.Path, "backing_file", "the backing chain leads back to this image");
        _seen.Add(file.Identity);
    }

    private FileStorage OpenFile(string path, bool readOnly, bool direct)
    {
        var error = FileStorage.Open(path, readOnly, direct, out var file);
        if (error == -Errno.EINVAL && direct)
        {
            error = FileStorage.Open(path, readOnly, direct: false, out file);
            if (error == 0)
                _log.Warning($"the file system of {path} does not support O_DIRECT: using the page cache");
        }

        return error switch
        {
            0 => file!,
            -Errno.ENOENT => throw new FileNotFoundException($"cannot open {path}: {Errno.Text(error)}"),
            -Errno.EACCES or -Errno.EPERM => throw new UnauthorizedAccessException($"cannot open {path}: {Errno.Text(error)}"),
            -Errno.EROFS => throw new IOException($"cannot open {path} for writing: {Errno.Text(error)}"),
            _ => throw new IOException($"cannot open {path}: {Errno.Text(error)}"),
        };
    }

    /// <summary>Clusters smaller than the device's sectors cannot be written one by one past the page cache.</summary>
    private static bool IsTooFine(FileStorage file, Header header, bool readOnly) =>
        !readOnly && header.ClusterSize < file.OffsetAlignment;
}
