using System;
using System.IO;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Storage;

/// <summary>Names of ours in directories where others may put theirs in the same place.</summary>
internal static class OwnName
{
    /// <summary>Removes a name, if the file that has it is ours.</summary>
    /// <param name="path">the name</param>
    /// <param name="isOurs">looks at the file of a name: asked with <paramref name="path"/>, and with another name that the file has for a
    /// moment</param>
    /// <returns>whether it was removed</returns>
    /// <remarks>
    /// No call removes a name only if it is that of a certain file. So the name is put aside, what it was then is looked at,
    /// and what is not ours gets its name back. The window that remains: if somebody takes the name between our first look and
    /// the next call, his file is without it until we have looked again; nothing of his is removed. Killed within it, we
    /// leave the file under its other name.
    /// </remarks>
    internal static bool Remove(string path, Predicate<string> isOurs)
    {
        if (!isOurs(path))
            return false;
        var aside = Path.Combine(Path.GetDirectoryName(path) ?? "/", $".qcow2blk-{Guid.NewGuid():n}");
        if (Unistd.Rename(path, aside) != 0)
            return false;
        if (isOurs(aside))
            return Unistd.Unlink(aside) == 0;
        PutBack(aside, path);
        return false;
    }

    private static void PutBack(string aside, string path)
    {
        // Not by rename: the name may have been taken again, and what has it now is newer.
        var error = Unistd.Link(aside, path) == 0 ? 0 : System.Runtime.InteropServices.Marshal.GetLastPInvokeError();
        // A second name is refused for directories, for files of other users (protected_hardlinks), and by some file systems.
        if (error is 0 or Errno.EEXIST)
            _ = Unistd.Unlink(aside);
        else
            _ = Unistd.Rename(aside, path);
    }
}
