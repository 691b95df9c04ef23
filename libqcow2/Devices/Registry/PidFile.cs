using System;
using System.Globalization;
using System.Text;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Interop;
using Qcow2Blk.Storage;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Devices.Registry;

/// <summary>The file of <c>--pid-file</c>, which may be in a directory where others can put things in its place.</summary>
internal sealed class PidFile : IDisposable
{
    private const uint Mode = 0x1A4; // 0644

    /// <summary>A process number and a line feed.</summary>
    private const int MaxBytes = 16;

    private readonly string _path;
    private readonly EntryIdentity _file;

    private PidFile(string path, EntryIdentity file)
    {
        _path = path;
        _file = file;
    }

    /// <summary>Writes this process's number.</summary>
    /// <exception cref="OutcomeException">it cannot be written, or something is there that is no file of ours</exception>
    /// <remarks>What is checked is what was opened. A file of ours is written in place: the directory may be somebody else's.</remarks>
    internal static PidFile Write(string path)
    {
        // Not waiting for the reader of a pipe, not following a link that somebody put into /tmp.
        var fd = Fcntl.OpenAt(AT_FDCWD, path,
            O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, Mode);
        if (fd < 0)
            throw Failed(path, fd == -Errno.ELOOP ? "it is a symbolic link" : Errno.Text(fd));
        try
        {
            var error = Stat.OfFile(fd, out var stat);
            if (error == 0 && WhyNotOurs(stat) is { } why)
                throw Failed(path, why);
            var text = Encoding.ASCII.GetBytes($"{Environment.ProcessId}\n");
            // Cut to its length after that: a reader never finds it empty that was not.
            if (error == 0)
                error = Unistd.WriteAll(fd, text);
            if (error == 0)
                error = Files.Truncate(fd, text.Length);
            return error == 0 ? new PidFile(path, EntryIdentity.Of(stat)) : throw Failed(path, Errno.Text(error));
        }
        finally
        {
            _ = Unistd.Close(fd);
        }
    }

    /// <summary>Removes the file, unless it is another one by now, or another server has written its number there.</summary>
    public void Dispose() => OwnName.Remove(_path, name => EntryIdentity.Of(name) == _file && ReadNumber(name) == Environment.ProcessId);

    /// <summary>Removes what a dead server left.</summary>
    internal static void RemoveDead(string path, int pid) =>
        OwnName.Remove(path, name => ReadNumber(name) == pid && ProcessIdentity.Of(pid) is null);

    private static string? WhyNotOurs(in statx stat)
    {
        if (!stat.IsRegularFile)
            return "it is not a regular file";
        if (stat.stx_uid != Unistd.EffectiveUser())
            return $"it belongs to user {stat.stx_uid}";
        // A second name of a file of ours, made by somebody else, would have us overwrite it.
        return stat.stx_nlink > 1 ? $"it has {stat.stx_nlink} names (hard links)" : null;
    }

    private static int? ReadNumber(string path)
    {
        var fd = Fcntl.OpenAt(AT_FDCWD, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd < 0)
            return null;
        Span<byte> text = stackalloc byte[MaxBytes];
        var count = Stat.OfFile(fd, out var stat) == 0 && stat.IsRegularFile ? Unistd.Read(fd, text) : 0;
        _ = Unistd.Close(fd);
        ReadOnlySpan<byte> line = count > 0 ? text[..count] : [];
        var end = line.IndexOf((byte)'\n');
        return int.TryParse(end < 0 ? line : line[..end], NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : null;
    }

    private static OutcomeException Failed(string path, string why) =>
        new(OutcomeKind.Failed, $"cannot write the pid file {path}", why);
}
