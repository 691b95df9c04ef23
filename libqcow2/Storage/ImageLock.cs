using System;
using System.IO;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Storage;

/// <summary>
/// The locks that qemu's programs take on an image, so that they and we keep out of each other's way. A byte of the
/// file stands for a permission; a shared lock on byte 100 + n says "I use it", on 200 + n "I do not let others use
/// it". Locks are of the open file description: the kernel drops them with its last descriptor.
/// </summary>
/// <remarks>
/// Taking is two steps, as in qemu: lock the own bytes, then test (never take) what others hold. Two that start at
/// the same moment may both refuse; they never both go on.
/// </remarks>
internal sealed class ImageLock
{
    internal const long UsedBase = 100;
    internal const long UnsharedBase = 200;

    /// <summary>The permissions in the order of their bytes.</summary>
    [Flags]
    private enum Permissions
    {
        ConsistentRead = 1 << 0,
        Write = 1 << 1,
        WriteUnchanged = 1 << 2,
        Resize = 1 << 3,
    }

    private const int PermissionCount = 4;

    /// <summary>Neither a writer nor a reader lets others change data or size.</summary>
    private const Permissions Unshared = Permissions.Write | Permissions.Resize;

    private readonly int _fd;
    private readonly string _path;
    private readonly Permissions _used;
    private readonly Permissions _unshared;

    private ImageLock(int fd, string path, bool write, bool besideWriter)
    {
        _fd = fd;
        _path = path;
        _unshared = besideWriter ? 0 : Unshared;
        _used = write ? Permissions.ConsistentRead | Permissions.Write | Permissions.Resize : Permissions.ConsistentRead;
    }

    /// <summary>Whether the locks are held now.</summary>
    public bool Held { get; private set; }

    /// <summary>Locks an image for writing, or for reading (backing files, read-only devices).</summary>
    /// <param name="fd">open for reading at least; the locks live as long as its description</param>
    /// <param name="path">for messages</param>
    /// <param name="write">whether it will be written</param>
    /// <param name="besideWriter">read only what does not change while another writes: a snapshot</param>
    /// <exception cref="ImageLockedException">somebody is in the way; nothing is held</exception>
    /// <exception cref="IOException">the file system cannot lock</exception>
    public static ImageLock Acquire(int fd, string path, bool write, bool besideWriter = false)
    {
        ArgumentNullException.ThrowIfNull(path);
        var imageLock = new ImageLock(fd, path, write, besideWriter);
        imageLock.Reacquire();
        return imageLock;
    }

    /// <summary>Who reads the image beside us, who write it: what is read may be a snapshot.</summary>
    /// <returns>null if nobody does</returns>
    public LockHolder? FindReader() => Fcntl.TestLock(_fd, F_WRLCK, UsedBase, 1, out var process) <= 0 ? null
        : process > 0 ? LockHolder.Of(process)
        : LockHolder.Find(_fd, UsedBase);

    /// <summary>Drops the locks: others may write the file now, so nothing read from it before may be trusted.</summary>
    public void Release()
    {
        for (var n = 0; n < PermissionCount; n++)
        {
            _ = Fcntl.SetLock(_fd, F_UNLCK, UsedBase + n, 1);
            _ = Fcntl.SetLock(_fd, F_UNLCK, UnsharedBase + n, 1);
        }

        Held = false;
    }

    /// <summary>Takes the locks again after <see cref="Release"/>. Harmless while they are held.</summary>
    /// <exception cref="ImageLockedException">somebody is in the way; nothing is held</exception>
    /// <exception cref="IOException">the file system cannot lock</exception>
    public void Reacquire()
    {
        try
        {
            for (var n = 0; n < PermissionCount; n++)
                TakeOwn(n);
            for (var n = 0; n < PermissionCount; n++)
                TestOthers(n);
        }
        catch
        {
            Release();
            throw;
        }

        Held = true;
    }

    private void TakeOwn(int n)
    {
        if (Has(_used, n))
            Take(UsedBase + n);
        if (Has(_unshared, n))
            Take(UnsharedBase + n);
    }

    private void TestOthers(int n)
    {
        if (Has(_used, n))
            Test(UnsharedBase + n, Forbids((Permissions)(1 << n)));
        if (Has(_unshared, n))
            Test(UsedBase + n, Uses((Permissions)(1 << n)));
    }

    private void Take(long offset)
    {
        var result = Fcntl.SetLock(_fd, F_RDLCK, offset, 1);
        // An exclusive lock on one of the bytes is somebody who is testing or a foreign program; qemu holds shared ones.
        if (result is -Errno.EAGAIN or -Errno.EACCES)
            throw new ImageLockedException(_path, LockHolder.Find(_fd, offset), "it locks the image exclusively");
        if (result < 0)
            throw new IOException($"cannot lock {_path}: {Errno.Text(result)}");
    }

    private void Test(long offset, string conflict)
    {
        var result = Fcntl.TestLock(_fd, F_WRLCK, offset, 1, out var process);
        if (result < 0)
            throw new IOException($"cannot test locks on {_path}: {Errno.Text(result)}");
        if (result > 0)
            throw new ImageLockedException(_path, process > 0 ? LockHolder.Of(process) : LockHolder.Find(_fd, offset), conflict);
    }

    private static bool Has(Permissions set, int n) => ((int)set >> n & 1) != 0;

    private static string Forbids(Permissions permission) => permission switch
    {
        Permissions.ConsistentRead => "it lets nobody read the image",
        Permissions.Write => "it lets nobody else write the image",
        Permissions.Resize => "it lets nobody else resize the image",
        _ => "it lets nobody else use the image",
    };

    private static string Uses(Permissions permission) => permission switch
    {
        Permissions.Write => "it writes the image",
        Permissions.Resize => "it may resize the image",
        _ => "it uses the image",
    };
}
