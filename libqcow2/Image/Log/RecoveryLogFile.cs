using System.IO;
using System.Runtime.CompilerServices;
using System.Threading;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Image.Log;

/// <summary>
/// The file of a recovery log: made, found and refused here. Its directory is its owner's alone; it is looked at all the same.
/// </summary>
internal static unsafe class RecoveryLogFile
{
    public const int HeaderBytes = 4096;

    private const char Version = '4';
    private const ulong MagicWithoutVersion = 0x0067_6f6c_6b6c_6271; // "qblklog"
    private const ulong MagicBeforeVersions = 0x676f_6c32_6b6c_6271; // "qblk2log"

    /// <summary>A write that was in progress when its server was killed may come to its file a while later.</summary>
    private const long LatestOwnWrite = 60_000;

    public const ulong Magic = MagicWithoutVersion | ((ulong)Version << 56);

    private static long FileBytes => HeaderBytes + ((long)RecoveryLog.Capacity * Unsafe.SizeOf<LogRecord>());

    public static RecoveryLog Create(string path)
    {
        var descriptor = OpenOwn(path, O_RDWR | O_CREAT, "make");
        try
        {
            if (Files.Truncate(descriptor, 0) is var cut and < 0)
                throw new IOException($"cannot empty {path}: {Errno.Text(cut)}");
            return Map(path, descriptor);
        }
        finally
        {
            Files.Close(descriptor);
        }
    }

    public static RecoveryLog? Open(string path, in LoggedImage image)
    {
        var descriptor = OpenOwn(path, O_RDWR, "open");
        if (descriptor < 0)
            return null;
        try
        {
            LogHeader header = default;
            var read = Files.Read(descriptor, &header, (nuint)sizeof(LogHeader), 0);
            if (read < 0)
                throw new IOException($"cannot read {path}: {Errno.Text((int)read)}");

            // A server that was killed while it made its log had nothing to log yet.
            if (read == 0 || IsEmpty(header))
                return null;
            RefuseOtherVersion(path, header);

            // After a power cut the data that its entries point to may be missing (the directory need not be on tmpfs).
            if (header.Identity.Boot != image.Identity.Boot)
                return null;
            if (Files.Seek(descriptor, 0, SEEK_END) != FileBytes || header.End - header.Start > RecoveryLog.Capacity)
                throw new RecoveryLogException($"{path} is not a recovery log");
            RefuseOtherImage(path, header.Identity, image.Identity);
            if (header.Dropped != 0)
                throw new RecoveryLogException($"{path} is incomplete");
            RefuseWritten(path, header, image);
            return Map(path, descriptor);
        }
        finally
        {
            Files.Close(descriptor);
        }
    }

    /// <summary>How many changes a dead server left there that are in no image yet.</summary>
    public static long CountOf(string path)
    {
        var descriptor = Files.Open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (descriptor < 0)
            return 0;
        LogHeader header = default;
        var read = Files.Read(descriptor, &header, (nuint)sizeof(LogHeader), 0);
        Files.Close(descriptor);
        if (read != sizeof(LogHeader) || VersionOf(header.Magic) is null || IsEmpty(header))
            return 0;
        return long.Clamp((long)(header.End - header.Start), 1, RecoveryLog.Capacity);
    }

    public static void Unmap(nint memory) => Files.Unmap(memory, (nuint)FileBytes);

    /// <summary>Opens the file if it must be one of ours: nothing that somebody else has put there, or a link to.</summary>
    /// <returns>the descriptor, or -ENOENT</returns>
    private static int OpenOwn(string path, int flags, string what)
    {
        var descriptor = Files.Open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0x180);
        if (descriptor == -Errno.ENOENT && (flags & O_CREAT) == 0)
            return descriptor;
        var refusal = descriptor == -Errno.ELOOP ? "it is a symbolic link"
            : descriptor < 0 ? Errno.Text(descriptor)
            : Stat.OfFile(descriptor, out var found) is var error and < 0 ? Errno.Text(error)
            : !found.IsRegularFile ? "it is not a regular file"
            : found.stx_uid != Unistd.EffectiveUser() ? $"it belongs to user {found.stx_uid}"
            : found.stx_nlink != 1 ? "it has more than one name (hard links)"
            : null;
        if (refusal is null)
            return descriptor;
        if (descriptor >= 0)
            Files.Close(descriptor);
        throw new IOException($"cannot {what} {path}: {refusal}");
    }

    private static RecoveryLog Map(string path, int descriptor)
    {
        // All of it now: no request may wait for memory.
        var error = Files.Allocate(descriptor, 0, 0, FileBytes);
        if (error < 0)
            throw new IOException($"no space for {path}: {Errno.Text(error)}");
        var flags = MAP_SHARED | MAP_POPULATE;
        var memory = Files.Map((nuint)FileBytes, PROT_READ | PROT_WRITE, flags, descriptor, 0);
        return memory != 0 ? new RecoveryLog(path, memory) : throw new IOException($"cannot map {path}");
    }

    /// <summary>One without records says nothing of an image that may have been edited since, at leisure.</summary>
    private static bool IsEmpty(in LogHeader header) =>
        header.Dropped == 0 && header.Start == header.End && (header.Magic == 0 || VersionOf(header.Magic) is not null);

    /// <returns>null if it is not a log of ours at all</returns>
    private static string? VersionOf(ulong magic) => magic switch
    {
        MagicBeforeVersions => "2",
        _ when (magic & (ulong.MaxValue >> 8)) == MagicWithoutVersion => $"{(char)(magic >> 56)}",
        _ => null,
    };

    private static void RefuseOtherVersion(string path, in LogHeader header)
    {
        if (header.Magic == Magic)
            return;
        throw new RecoveryLogException(VersionOf(header.Magic) is { } version
            ? $"{path} was written by another qcow2blk (format {version}, this one reads {Version}): recover with that one"
            : $"{path} is not a recovery log");
    }

    private static void RefuseOtherImage(string path, in LogIdentity logged, in LogIdentity found)
    {
        if (logged == found)
            return;
        if ((logged.Device, logged.Inode) != (found.Device, found.Inode))
            throw new RecoveryLogException($"{path} is the log of another image, or the image was replaced");
        if ((logged.SnapshotsOffset, logged.SnapshotCount) != (found.SnapshotsOffset, found.SnapshotCount))
            throw new RecoveryLogException($"{path}: snapshots of the image were made or deleted since its server died");
        if (logged.Size != found.Size)
            throw new RecoveryLogException($"{path}: the disk had {logged.Size} bytes when its server died and has {found.Size} now");
        throw new RecoveryLogException($"{path}: the header of the image was changed since its server died");
    }

    private static void RefuseWritten(string path, in LogHeader header, in LoggedImage image)
    {
        if (image.Mark is { } mark && mark != header.Mark)
        {
            throw new RecoveryLogException($"{path}: another program opened the image for writing since its server died"
                + $" (autoclear_features has 0x{mark:x2} at bit 56, the log 0x{header.Mark:x2})");
        }

        if (image.Mark is null && image.Modified - header.LastAlive > LatestOwnWrite)
        {
            throw new RecoveryLogException($"{path}: the image was written {(image.Modified - header.LastAlive) / 1000} s"
                + " after the last sign of life of its server");
        }
    }
}
