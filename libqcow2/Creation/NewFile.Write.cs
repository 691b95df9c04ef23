using System;
using System.IO;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Creation;

/// <summary>What is done to the file while it is made.</summary>
internal sealed partial class NewFile
{
    private const int ChunkBytes = 1 << 20;

    /// <summary>Whether what was not written reads as zeroes.</summary>
    public bool IsZero => DeviceBytes is null;

    /// <exception cref="IOException">the kernel's word</exception>
    public void Write(long offset, ReadOnlySpan<byte> data)
    {
        if (IsZero && !data.ContainsAnyExcept((byte)0))
            return;
        Require(Files.WriteAll(Descriptor, data, offset), $"cannot write at 0x{offset:x} to");
    }

    /// <summary>Gives a file its length, or refuses a device that is smaller.</summary>
    /// <exception cref="IOException">the kernel's word</exception>
    public void SetLength(long bytes)
    {
        if (DeviceBytes is not { } there)
            Require(Files.Truncate(Descriptor, bytes), $"cannot give {bytes} bytes to");
        else if (there < bytes)
            throw new IOException($"{Path} has {there} bytes, and the image needs {bytes}");
    }

    /// <summary>Has the file system reserve space.</summary>
    /// <exception cref="IOException">there is none, or the file system cannot</exception>
    public void Reserve(long bytes)
    {
        int error;
        do
            error = bytes == 0 ? 0 : Files.Allocate(Descriptor, 0, 0, bytes);
        while (error == -Errno.EINTR);
        if (error == -Errno.EOPNOTSUPP)
            throw new IOException($"the file system of {Path} cannot reserve space (preallocation=full writes zeroes instead)", -error);
        Require(error, $"cannot reserve {bytes} bytes for");
    }

    /// <summary>Writes zeroes, so that the space is there.</summary>
    /// <param name="offset">where to</param>
    /// <param name="bytes">how many</param>
    /// <param name="progress">told of the bytes written since it was told last</param>
    /// <exception cref="IOException">the kernel's word</exception>
    public void WriteZeroes(long offset, long bytes, Action<long> progress)
    {
        var zeroes = new byte[Math.Min(bytes, ChunkBytes)];
        while (bytes > 0)
        {
            var count = (int)Math.Min(bytes, zeroes.Length);
            Require(Files.WriteAll(Descriptor, zeroes.AsSpan(0, count), offset), $"cannot write at 0x{offset:x} to");
            offset += count;
            bytes -= count;
            progress(count);
        }
    }

    /// <exception cref="IOException">the kernel's word: what was written may be lost</exception>
    public void Sync() => Require(Files.Sync(Descriptor), "cannot bring to disk");

    private void Require(int result, string what)
    {
        if (result < 0)
            throw Failed(Path, what, result);
    }
}
