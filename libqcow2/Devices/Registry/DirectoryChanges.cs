using System;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Devices.Registry;

/// <summary>
/// Tells when devices come to a runtime directory, become ready, or go. Look at the directory after it was made: what changed
/// before is not told.
/// </summary>
internal sealed class DirectoryChanges(RuntimeDirectory directory) : IDisposable
{
    /// <summary>Readable once something has changed; negative if that cannot be known: then one has to look now and then.</summary>
    public int Descriptor { get; private set; } = Inotify.OfNames(directory.Path);

    public void Dispose()
    {
        if (Descriptor >= 0)
            _ = Unistd.Close(Descriptor);
        Descriptor = -1;
    }
}
