using System.Security.Cryptography;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Devices;

/// <summary>
/// A key on its way to another process: a file without a name, whose descriptor the other inherits. It lives from just before that
/// process starts until it has read it, which wipes it.
/// </summary>
internal static class KeyHandOver
{
    /// <returns>a descriptor, or a negative errno</returns>
    public static int Send(SecretMemory key)
    {
        var fd = Memory.CreateFile("qcow2blk-key");
        if (fd < 0)
            return fd;
        var error = Files.Truncate(fd, key.Length);
        if (error == 0)
            error = Memory.WithLocked(fd, key.Length, key, static (file, secret) => secret.Span.CopyTo(file));
        if (error == 0)
            return fd;
        _ = Unistd.Close(fd);
        return error;
    }

    /// <summary>Takes the key out of a file that <see cref="Send"/> made; it is wiped and closed.</summary>
    /// <returns>null if there is none</returns>
    public static SecretMemory? Receive(int fd)
    {
        _ = Fcntl.Control(fd, F_SETFD, FD_CLOEXEC);
        var length = Files.Seek(fd, 0, SEEK_END);
        SecretMemory? key = null;
        if (length is > 0 and <= Limits.MaxKeyBytes)
        {
            key = new SecretMemory((int)length);
            var error = Memory.WithLocked(fd, key.Length, key, static (file, secret) =>
            {
                file.CopyTo(secret.Span);
                CryptographicOperations.ZeroMemory(file);
            });
            if (error < 0)
            {
                key.Dispose();
                key = null;
            }
        }

        _ = Unistd.Close(fd);
        return key;
    }
}
