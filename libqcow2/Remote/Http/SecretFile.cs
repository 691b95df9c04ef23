using System;
using System.IO;
using System.Text;

namespace Qcow2Blk.Remote.Http;

/// <summary>Reads a file that holds a secret.</summary>
internal static class SecretFile
{
    private const int MaxBytes = 64 << 10;

    private const UnixFileMode Strangers = UnixFileMode.OtherRead | UnixFileMode.OtherWrite;

    /// <summary>Reads it. Not on a loop: the file may be anywhere.</summary>
    /// <returns>null, or why it failed, as the rest of a sentence that begins with its name</returns>
    public static string? Read(SecretFetch fetch, string path)
    {
        ArgumentNullException.ThrowIfNull(fetch);
        try
        {
            using var file = File.OpenHandle(path);

            // What everybody can read is no secret any more, and what everybody can write is not the owner's.
            if ((File.GetUnixFileMode(file) & Strangers) != 0)
                return "can be read or written by everybody: chmod o-rw";
            var length = RandomAccess.GetLength(file);
            if (length > MaxBytes)
                return $"has more than {MaxBytes} bytes";
            var bytes = new byte[length];
            var count = RandomAccess.Read(file, bytes, 0);
            fetch.Output = Encoding.UTF8.GetString(bytes, 0, count);
            return null;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return $"cannot be read: {error.Message}";
        }
    }
}
