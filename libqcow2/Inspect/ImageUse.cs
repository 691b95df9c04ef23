using System.IO;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Inspect;

/// <summary>Whether somebody writes to an image while we look at it.</summary>
internal static class ImageUse
{
    /// <summary>Who writes the image; null if nobody does. Nothing stays locked.</summary>
    public static string? WriterOf(InspectedFile file)
    {
        System.ArgumentNullException.ThrowIfNull(file);
        try
        {
            ImageLock.Acquire(file.Descriptor, file.Path, write: false).Release();
            return null;
        }
        catch (ImageLockedException locked)
        {
            return locked.Holder;
        }
        catch (IOException)
        {
            return null; // The file system has no locks: nobody can tell.
        }
    }

    /// <summary>Keeps writers out of the whole chain until the files are closed.</summary>
    /// <exception cref="ImageLockedException">somebody writes one of them</exception>
    public static void KeepWritersOut(InspectedChain chain)
    {
        System.ArgumentNullException.ThrowIfNull(chain);
        foreach (var image in chain.Images)
            ImageLock.Acquire(image.File.Descriptor, image.File.Path, write: false);
    }
}
