using System;
using System.IO;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Devices;

/// <summary>A unix socket path that nobody else can reach, in a directory of its own; gone at the end.</summary>
public sealed class PrivateSocket : IDisposable
{
    private string? _directory;

    /// <returns>the path; nothing is there yet</returns>
    public string Make()
    {
        // Made with mode 0700 and a name that cannot be foreseen.
        _directory ??= Directory.CreateTempSubdirectory("qcow2blk-").FullName;
        return Path.Combine(_directory, "nbd.sock");
    }

    public void Dispose()
    {
        if (_directory is null)
            return;
        _ = Unistd.Unlink(Path.Combine(_directory, "nbd.sock"));
        _ = Unistd.RemoveDirectory(_directory);
        _directory = null;
    }
}
