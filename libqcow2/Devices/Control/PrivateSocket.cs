using System;
using System.IO;
using System.Text;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Devices.Control;

/// <summary>A unix socket path that nobody else can reach, in a directory of its own; gone at the end.</summary>
internal sealed class PrivateSocket : IDisposable
{
    private const string Name = "nbd.sock";
    private const uint OwnerOnly = 0x1C0; // 0700

    /// <summary>Where the root file system is read-only, as in containers, this often is all that can be written.</summary>
    private const string Memory = "/dev/shm";

    private string? _directory;

    /// <returns>the path; nothing is there yet</returns>
    /// <exception cref="OutcomeException">there is no place for it</exception>
    public string Make()
    {
        _directory ??= MakeDirectory();
        return Path.Combine(_directory, Name);
    }

    public void Dispose()
    {
        if (_directory is null)
            return;
        _ = Unistd.Unlink(Path.Combine(_directory, Name));
        _ = Unistd.RemoveDirectory(_directory);
        _directory = null;
    }

    private static string MakeDirectory()
    {
        string folder = Path.GetTempPath(), why = "";
        foreach (var parent in (ReadOnlySpan<string>)[folder, Memory])
        {
            // A name that cannot be foreseen, and mkdir takes none that is there: what is used by name later is ours. 64 bits.
            var path = Path.Combine(parent, $"qcow2blk-{Guid.NewGuid():n}"[..25]);
            var error = Encoding.UTF8.GetByteCount(path) + 1 + Name.Length > AttachRules.MaxSocketPathBytes
                ? -Errno.ENAMETOOLONG : Stat.MakeDirectoryAt(AT_FDCWD, path, OwnerOnly);
            if (error == 0)
                return path;
            why += $"{(why.Length > 0 ? ", " : "")}{parent}: {Errno.Text(error)}";
        }

        throw new OutcomeException(OutcomeKind.Failed, "cannot make a private socket", why,
            "set TMPDIR to a writable directory, or use --socket");
    }
}
