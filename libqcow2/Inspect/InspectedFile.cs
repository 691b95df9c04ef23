using System;
using System.IO;
using System.Runtime.InteropServices;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Storage;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Inspect;

/// <summary>A file read synchronously, for looking at images that are not attached.</summary>
internal sealed unsafe partial class InspectedFile : IDisposable
{
    private const int SEEK_END = 2;

    private readonly FileHoles _holes = new();

    private InspectedFile(string path, int fd, long length, long allocated, FileIdentity identity)
    {
        Path = path;
        Descriptor = fd;
        Length = length;
        Allocated = allocated;
        Identity = identity;
    }

    public string Path { get; }

    internal int Descriptor { get; }

    /// <summary>Bytes in the file or device.</summary>
    public long Length { get; }

    /// <summary>Bytes that the file takes on its file system.</summary>
    public long Allocated { get; }

    /// <summary>Tells whether two paths are one file.</summary>
    internal FileIdentity Identity { get; }

    /// <exception cref="IOException">it cannot be opened, or is neither a regular file nor a block device</exception>
    public static InspectedFile Open(string path)
    {
        var error = FoundFile.Find(path, out var found);
        if (error < 0)
            throw Failed(path, "cannot open", error);
        using (found)
            return Open(found!);
    }

    private static InspectedFile Open(FoundFile found)
    {
        found.RequireImageFile();
        var path = found.Path;
        var fd = found.Open(O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            throw Failed(path, "cannot open", fd);
        try
        {
            var result = Stat.OfFile(fd, out var stat);
            if (result < 0)
                throw Failed(path, "cannot stat", result);
            var length = stat.IsRegularFile ? (long)Math.Min(stat.stx_size, long.MaxValue) : Files.Seek(fd, 0, SEEK_END);
            if (length < 0)
                throw Failed(path, "cannot find the size of", (int)length);
            if (length > Limits.MaxFileBytes)
            {
                throw new IOException(
                    $"cannot open {path}: its size of {length} bytes is more than {Limits.MaxFileBytes}, the largest file or disk");
            }

            var allocated = (long)Math.Min(stat.stx_blocks, (ulong)Limits.MaxFileBytes / 512) * 512;
            return new InspectedFile(path, fd, length, allocated, found.Identity);
        }
        catch
        {
            _ = Unistd.Close(fd);
            throw;
        }
    }

    /// <summary>Reads all of the range; what lies past the end of the file reads as zeroes.</summary>
    /// <exception cref="IOException">the kernel's word, with path and offset</exception>
    public void Read(long offset, Span<byte> buffer)
    {
        while (!buffer.IsEmpty)
        {
            long count;
            fixed (byte* start = buffer)
                count = Files.Read(Descriptor, start, (nuint)buffer.Length, offset);
            if (count < 0)
            {
                if (count == -Errno.EINTR)
                    continue;
                throw Failed(Path, $"cannot read at 0x{offset:x}", (int)count);
            }

            if (count == 0)
            {
                buffer.Clear();
                return;
            }

            buffer = buffer[(int)count..];
            offset += count;
        }
    }

    /// <summary>Tells whether the file has a hole at an offset, and how far that goes. A file system without holes has none.</summary>
    public FileRange FindRange(long offset) => _holes.Find(Descriptor, offset);

    public void Dispose() => _ = Unistd.Close(Descriptor);

    private static IOException Failed(string path, string what, int errno) => new($"{what} {path}: {Errno.Text(errno)}", -errno);
}
