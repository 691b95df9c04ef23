using System;
using System.Buffers;
using System.Collections.Generic;
using System.IO;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Remote.Cache;

/// <summary>
/// An open directory of a cache, which is this user's alone. What is in it is opened through it, never through a symbolic link,
/// and only if it is an ordinary file or directory of this user: what else lies there was not put there by us.
/// </summary>
internal sealed class CacheFolder : IDisposable
{
    private const uint OwnerOnly = 0x1C0; // 0700
    private const uint OwnerFile = 0x180; // 0600
    private const int OthersMayWrite = 0x12; // 0022

    private static readonly SearchValues<char> s_digits = SearchValues.Create("0123456789abcdef");

    private CacheFolder(string path, int descriptor)
    {
        Path = path;
        Descriptor = descriptor;
    }

    public string Path { get; }

    public int Descriptor { get; }

    /// <summary>Opens the directory of all entries. Its own name may be a symbolic link: whoever set that up chose the disk.</summary>
    /// <param name="path">an absolute path</param>
    /// <param name="make">whether to make it where it is missing</param>
    /// <returns>null if it is missing</returns>
    /// <exception cref="IOException">it cannot be made or used</exception>
    public static CacheFolder? OpenRoot(string path, bool make)
    {
        var trouble = make ? TryMake(path) : null;
        var descriptor = Files.Open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (descriptor == -Errno.ENOENT && !make)
            return null;
        return descriptor >= 0 ? Checked(path, descriptor)
            : throw Refusal(path, descriptor == -Errno.ENOENT && trouble is not null ? trouble : Errno.Text(descriptor));
    }

    /// <returns>null if it is missing</returns>
    /// <exception cref="IOException">it cannot be made or used</exception>
    public CacheFolder? OpenFolder(string name, bool make)
    {
        var path = System.IO.Path.Combine(Path, name);
        var made = make ? Stat.MakeDirectoryAt(Descriptor, name, OwnerOnly) : 0;
        if (made < 0 && made != -Errno.EEXIST)
            throw Refusal(path, Errno.Text(made));
        var descriptor = Fcntl.OpenAt(Descriptor, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (descriptor == -Errno.ENOENT && !make)
            return null;
        return descriptor >= 0 ? Checked(path, descriptor) : throw Refusal(path, Errno.Text(descriptor));
    }

    /// <summary>Opens a file of the directory.</summary>
    /// <param name="name">of the file</param>
    /// <param name="flags">of open(2); a file that is made is its owner's alone</param>
    /// <returns>a descriptor or a negative errno; -ELOOP for what is not an ordinary file of this user with one name</returns>
    public int OpenFile(string name, int flags)
    {
        // A pipe would keep an open for reading waiting.
        var descriptor = Fcntl.OpenAt(Descriptor, name, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, OwnerFile);
        if (descriptor < 0)
            return descriptor;
        var result = Stat.OfFile(descriptor, out var status);
        if (result == 0 && !(status.IsRegularFile && status.stx_uid == Unistd.EffectiveUser() && status.stx_nlink == 1))
            result = -Errno.ELOOP;
        if (result == 0)
            return descriptor;
        Files.Close(descriptor);
        return result;
    }

    /// <returns>0 or a negative errno; 0 too if there is no such file</returns>
    public int Remove(string name)
    {
        var result = Unistd.UnlinkAt(Descriptor, name);
        return result == -Errno.ENOENT ? 0 : result;
    }

    public int RemoveFolder(string name) => Unistd.UnlinkAt(Descriptor, name, Unistd.AT_REMOVEDIR);

    public int Rename(string from, string to) => Unistd.RenameAt(Descriptor, from, to);

    /// <summary>Names of the directories in it that may be entries.</summary>
    public IReadOnlyList<string> EntryNames()
    {
        var names = new List<string>();
        try
        {
            foreach (var path in Directory.EnumerateFileSystemEntries(Path))
            {
                if (System.IO.Path.GetFileName(path) is { Length: 64 } name && !name.AsSpan().ContainsAnyExcept(s_digits))
                    names.Add(name);
            }
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw Refusal(Path, error.Message);
        }

        names.Sort(StringComparer.Ordinal);
        return names;
    }

    public void Dispose() => Files.Close(Descriptor);

    /// <returns>null, or why it is not made: it may be there already</returns>
    private static string? TryMake(string path)
    {
        try
        {
            Directory.CreateDirectory(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            return null;
        }
        catch (UnauthorizedAccessException)
        {
            return Errno.Text(Errno.EACCES);
        }
        catch (IOException error)
        {
            return error.Message;
        }
    }

    private static CacheFolder Checked(string path, int descriptor)
    {
        var result = Stat.OfFile(descriptor, out var status);
        var user = Unistd.EffectiveUser();
        var why = result < 0 ? Errno.Text(result)
            : status.stx_uid != user ? $"it belongs to user {status.stx_uid}, and this is user {user}"
            : (status.stx_mode & OthersMayWrite) != 0
            ? $"it has mode {Convert.ToString(status.stx_mode & 0xFFF, 8)}: others could put wrong bytes into it"
            : null;
        if (why is null)
            return new CacheFolder(path, descriptor);
        Files.Close(descriptor);
        throw Refusal(path, why);
    }

    private static IOException Refusal(string path, string why) => new($"cannot use {path} for a cache: {why}");
}
