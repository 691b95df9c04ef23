using System;
using System.Globalization;
using System.IO;
using System.Text;
using Qcow2Blk.Interop;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Storage;

/// <summary>
/// The file that a name led to at one moment. What is asked of it and every opening is about that file, whatever the name
/// leads to by then: a link may be swapped between a check and an open. Looking does nothing to the file, also if
/// it is a pipe or a device (O_PATH).
/// </summary>
internal sealed class FoundFile : IDisposable
{
    private readonly int _fd;
    private readonly statx _status;

    private FoundFile(string path, int fd, in statx status)
    {
        Path = path;
        _fd = fd;
        _status = status;
    }

    /// <summary>The name that led to it.</summary>
    public string Path { get; private set; }

    public FileIdentity Identity => new(_status.stx_dev_major, _status.stx_dev_minor, _status.stx_ino);

    /// <summary>Follows a name, symbolic links too.</summary>
    /// <returns>0, or a negative errno of open(2)</returns>
    public static int Find(string path, out FoundFile? found)
    {
        found = null;
        var fd = Files.Open(path, O_PATH | O_CLOEXEC);
        if (fd < 0)
            return fd;
        var result = Stat.OfFile(fd, out var status);
        if (result == 0)
            found = new FoundFile(path, fd, status);
        else
            _ = Unistd.Close(fd);
        return result;
    }

    /// <summary>A file that somebody has opened for us: nothing else of it is ever opened.</summary>
    /// <param name="descriptor">stays the caller's</param>
    /// <param name="path">for messages; null for what the kernel says it is</param>
    /// <param name="found">the file</param>
    /// <returns>0, or a negative errno: -EBADF if it is not an open descriptor, or only a path (O_PATH)</returns>
    public static int OfDescriptor(int descriptor, string? path, out FoundFile? found)
    {
        found = null;
        var flags = Errno.Of(Fcntl.Control(descriptor, F_GETFL, 0));
        if (flags < 0)
            return flags;
        if ((flags & O_PATH) != 0)
            return -Errno.EBADF;
        var fd = Errno.Of(Fcntl.Control(descriptor, F_DUPFD_CLOEXEC, 0));
        if (fd < 0)
            return fd;
        var result = Stat.OfFile(fd, out var status);
        if (result < 0)
        {
            _ = Unistd.Close(fd);
            return result;
        }

        found = new FoundFile("", fd, status) { GivenFlags = flags };
        found.Path = path ?? found.RealName;
        return 0;
    }

    /// <summary>The flags of open(2) that a descriptor has which was given; null where the file is opened by us.</summary>
    public int? GivenFlags { get; private init; }

    /// <exception cref="IOException">it is something that holds no disk: a directory, a pipe, a character device</exception>
    public void RequireImageFile()
    {
        if (_status.IsRegularFile || _status.IsBlockDevice)
            return;
        var kind = _status.IsDirectory ? "a directory" : "neither a regular file nor a block device";
        throw new IOException($"cannot open {Path}: it is {kind}");
    }

    /// <summary>Opens the file itself.</summary>
    /// <param name="flags">of open(2)</param>
    /// <returns>a descriptor, or a negative errno</returns>
    /// <exception cref="IOException">there is no /proc, without which an open file cannot be opened again</exception>
    internal int Open(int flags)
    {
        // As it is: opening it anew may not be allowed here.
        if (GivenFlags is not null)
            return Errno.Of(Fcntl.Control(_fd, F_DUPFD_CLOEXEC, 0));
        var fd = Files.Open(Link, flags);
        return fd != -Errno.ENOENT ? fd : throw new IOException($"cannot open {Path}: /proc is not mounted");
    }

    /// <summary>Whether the file lies in a directory or below it.</summary>
    /// <param name="directory">an absolute path without symbolic links</param>
    public bool LiesIn(string directory)
    {
        ArgumentNullException.ThrowIfNull(directory);
        // Bytes: what is not UTF-8 must not become like anything else.
        return RealPath() is { } real && real.AsSpan().StartsWith(Encoding.UTF8.GetBytes(directory.TrimEnd('/') + "/"));
    }

    /// <summary>The path without symbolic links, for messages; the name that led here where it cannot be told.</summary>
    public string RealName => RealPath() is { } real ? Encoding.UTF8.GetString(real) : Path;

    public void Dispose() => _ = Unistd.Close(_fd);

    private string Link => $"/proc/self/fd/{_fd.ToString(CultureInfo.InvariantCulture)}";

    private byte[]? RealPath() => Unistd.ReadLink(Link);
}
