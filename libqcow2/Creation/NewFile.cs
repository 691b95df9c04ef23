using System;
using System.IO;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Interop;
using Qcow2Blk.Storage;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Creation;

/// <summary>
/// A file that is being made, under its name only once it is whole: who is killed before that leaves nothing, and a file that it
/// replaces stays as it was.
/// </summary>
/// <remarks>
/// It has no name until then (O_TMPFILE). Where the file system has no such files it has its name from the start, or that of a
/// temporary file beside the one that it replaces, and is removed if something fails. A block device is written in place.
/// </remarks>
internal sealed partial class NewFile : IDisposable
{
    private const uint UsualMode = 0x1a4; // rw-r--r--, as qemu-img has it

    private readonly string _directory;
    private readonly FoundFile? _replaced;
    private readonly int _replacedDescriptor;
    private string? _temporary;

    private NewFile(string path, string target, FoundFile? replaced, int replacedDescriptor)
    {
        Path = path;
        Target = target;
        _replaced = replaced;
        _replacedDescriptor = replacedDescriptor;
        var directory = System.IO.Path.GetDirectoryName(target);
        _directory = string.IsNullOrEmpty(directory) ? "." : directory;
    }

    /// <summary>As the user named it.</summary>
    public string Path { get; }

    public int Descriptor { get; private set; } = -1;

    /// <summary>Bytes that a block device has; null for a file, which grows.</summary>
    public long? DeviceBytes { get; private set; }

    /// <summary>The file that it replaces, or the device; null if there is none.</summary>
    public FileIdentity? Identity => _replaced?.Identity;

    /// <summary>Its path without symbolic links.</summary>
    private string Target { get; }

    /// <summary>Whether both would get the same name.</summary>
    public bool HasNameOf(NewFile other) =>
        System.IO.Path.GetFullPath(Target) == System.IO.Path.GetFullPath((other ?? throw new ArgumentNullException(nameof(other))).Target);

    /// <summary>Begins a file, or takes hold of a block device. An image in use is never touched.</summary>
    /// <param name="path">its name</param>
    /// <param name="force">whether a file that is there may be replaced, and a device be overwritten</param>
    /// <param name="nameless">whether it may have no name until it is whole; false: as on a file system that has no such files</param>
    /// <exception cref="IOException">the kernel's word, or what is there already</exception>
    /// <exception cref="ImageLockedException">what is there is an image that somebody uses</exception>
    public static NewFile Begin(string path, bool force, bool nameless = true)
    {
        var error = FoundFile.Find(path, out var found);
        if (error is not (0 or -Errno.ENOENT))
            throw Failed(path, "cannot create", error);
        var descriptor = -1;
        try
        {
            if (found is not null)
                descriptor = TakeHold(found, force);
            var file = new NewFile(path, found?.RealName ?? path, found, descriptor);
            file.Open(nameless);
            return file;
        }
        catch
        {
            found?.Dispose();
            if (descriptor >= 0)
                _ = Files.Close(descriptor);
            throw;
        }
    }

    /// <summary>Opens and locks what is there, so that nobody begins to use it meanwhile.</summary>
    private static int TakeHold(FoundFile found, bool force)
    {
        found.RequireImageFile();
        // Of a block device O_EXCL asks for nobody else: a file system that is mounted from it, for one.
        var descriptor = found.Open(O_RDWR | O_EXCL | O_CLOEXEC);
        if (descriptor < 0)
            throw Failed(found.Path, "cannot open", descriptor);
        try
        {
            // An empty file, as mktemp makes it, holds nothing that could be lost.
            var isEmpty = Files.Seek(descriptor, 0, 2) == 0;
            if (!force && !isEmpty)
                throw IsThere(found.Path, Status(descriptor, found.Path).IsBlockDevice);
            ImageLock.Acquire(descriptor, found.Path, write: true);
            return descriptor;
        }
        catch
        {
            _ = Files.Close(descriptor);
            throw;
        }
    }

    private void Open(bool nameless)
    {
        if (_replaced is not null && Status(_replacedDescriptor, Path).IsBlockDevice)
        {
            Descriptor = _replacedDescriptor;
            DeviceBytes = Files.Seek(Descriptor, 0, 2);
            return;
        }

        Descriptor = nameless ? Files.OpenNameless(_directory, O_RDWR | O_CLOEXEC, UsualMode) : -Errno.EOPNOTSUPP;
        // Kernels and file systems that do not know the flag take it for a directory that is to be written.
        if (Descriptor is -Errno.EOPNOTSUPP or -Errno.EISDIR or -Errno.ENOENT or -Errno.EINVAL)
        {
            _temporary = _replaced is null ? Target : TemporaryName();
            Descriptor = Files.Open(_temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, UsualMode);
            if (Descriptor < 0)
                _temporary = null;
        }

        if (Descriptor < 0)
            throw Failed(Path, "cannot create", Descriptor);
        if (_replaced is not null)
            KeepOwnerAndMode();
        ImageLock.Acquire(Descriptor, Path, write: true);
    }

    /// <summary>Whoever could use the file before can use it then.</summary>
    private void KeepOwnerAndMode()
    {
        var before = Status(_replacedDescriptor, Path);
        var now = Status(Descriptor, Path);
        if (before.stx_uid != now.stx_uid || before.stx_gid != now.stx_gid)
            Require(Files.ChangeOwner(Descriptor, before.stx_uid, before.stx_gid), "cannot keep the owner of");
        Require(Files.ChangeMode(Descriptor, (uint)before.stx_mode & 0xfff), "cannot keep the mode of");
    }

    private static statx Status(int descriptor, string path)
    {
        var error = Stat.OfFile(descriptor, out var status);
        return error == 0 ? status : throw Failed(path, "cannot stat", error);
    }

    /// <summary>Brings the file to disk and gives it its name.</summary>
    /// <exception cref="IOException">the kernel's word; a file that was to be replaced is still there</exception>
    public void Publish()
    {
        Sync();
        if (DeviceBytes is not null)
            return;
        if (_replaced is not null)
        {
            if (_temporary is null)
            {
                var name = TemporaryName();
                Require(Files.Name(Descriptor, name), "cannot create");
                _temporary = name;
            }

            if (Unistd.Rename(_temporary, Target) < 0)
                throw Failed(Path, "cannot replace", Errno.Of(-1));
        }
        else if (_temporary is null)
        {
            var error = Files.Name(Descriptor, Target);
            if (error == -Errno.EEXIST)
                throw IsThere(Path);
            Require(error, "cannot create");
        }

        _temporary = null;
        SyncDirectory();
    }

    /// <summary>Takes the name away again, where the rest of the image could not be made.</summary>
    public void Withdraw()
    {
        if (DeviceBytes is null && _replaced is null)
            _ = Unistd.Unlink(Target);
    }

    public void Dispose()
    {
        if (_temporary is not null)
            _ = Unistd.Unlink(_temporary);
        if (Descriptor >= 0)
            _ = Files.Close(Descriptor);
        if (_replacedDescriptor >= 0 && _replacedDescriptor != Descriptor)
            _ = Files.Close(_replacedDescriptor);
        _replaced?.Dispose();
    }

    private string TemporaryName() => System.IO.Path.Combine(_directory, $".qcow2blk-create-{Guid.NewGuid():n}");

    /// <summary>A name that is not on disk is lost with the power. Where directories cannot be synced, nothing is promised.</summary>
    private void SyncDirectory()
    {
        var directory = Files.Open(_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (directory < 0)
            return;
        _ = Files.Sync(directory);
        _ = Files.Close(directory);
    }

    private static OutcomeException IsThere(string path, bool isDevice = false) => new(OutcomeKind.Failed, $"cannot create {path}",
        isDevice ? "it is a block device" : "it already exists", isDevice ? "--force overwrites it" : "--force replaces it")
    {
        Error = -Errno.EEXIST,
    };

    private static IOException Failed(string path, string what, int error) => new($"{what} {path}: {Errno.Text(error)}", -error);
}
