using System;
using System.Collections.Generic;
using System.IO;

namespace Qcow2Blk.Tests.Interop;

/// <summary>
/// A directory on a disk, for image files that are to go through the ring: on tmpfs, where the other tests have theirs,
/// transfers never do.
/// </summary>
internal sealed class DiskFolder : IDisposable
{
    private readonly string _path = Directory.CreateDirectory(System.IO.Path.Combine("/var/tmp", $"q2b-{Guid.NewGuid():N}"[..16])).FullName;

    /// <summary>An image there.</summary>
    public string Image(string name, string size, string options = "cluster_size=65536")
    {
        var path = System.IO.Path.Combine(_path, name);
        Run.QemuImg("create", "-q", "-f", "qcow2", "-o", options, path, size);
        return path;
    }

    public void Dispose() => Directory.Delete(_path, recursive: true);
}
