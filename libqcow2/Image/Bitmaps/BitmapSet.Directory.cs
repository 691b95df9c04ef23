using System;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Bitmaps;

/// <summary>Another directory becomes the image's, in one step; what it names is written before.</summary>
internal sealed partial class BitmapSet
{
    /// <summary>Makes another directory the image's.</summary>
    /// <param name="next">the directory; without entries, the image has none afterwards</param>
    /// <exception cref="ImageFormatException">the header has no room for it; nothing was changed</exception>
    public LoopTask<int> ReplaceDirectoryAsync(BitmapDirectoryBytes next) => ReplaceDirectoryAsync(next, _space.SetExtensionAsync);

    /// <summary>As the other, with a step of the caller's, who changes more with it.</summary>
    /// <param name="next">the directory; without entries, the image has none afterwards</param>
    /// <param name="set">makes the header point to it</param>
    /// <exception cref="ImageFormatException">the header has no room for it; nothing was changed</exception>
    public async LoopTask<int> ReplaceDirectoryAsync(BitmapDirectoryBytes next, Func<BitmapsExtension?, LoopTask<int>> set)
    {
        var (error, written) = await WriteDirectoryAsync(next);
        if (error < 0)
            return error;
        error = await _space.CommitAsync();
        if (error == 0)
            error = await _space.SyncAsync();
        if (error < 0)
        {
            GiveBack(written);
            return error;
        }

        // If this fails the header may say either: both stay as they are, and one of them leaks.
        try
        {
            error = await set(written.Extension);
        }
        catch (ImageFormatException)
        {
            // It has no room for that, and was not changed.
            GiveBack(written);
            throw;
        }

        if (error == 0)
            Become(written);
        return error;
    }

    /// <summary>Writes a directory to new clusters. Nothing on disk may point to them before a commit.</summary>
    /// <returns>0 and where it is, or a negative errno</returns>
    public async LoopTask<(int Error, WrittenDirectory Written)> WriteDirectoryAsync(BitmapDirectoryBytes next)
    {
        var nothing = new WrittenDirectory(next, null);
        if (await ProveAsync() is var unproven and < 0)
            return (unproven, nothing);
        if (next.Entries.Count == 0)
            return (0, nothing);
        var offset = await _space.AllocateAsync(ClustersOf(next.Bytes.Length));
        if (offset < 0)
            return ((int)offset, nothing);
        var written = new WrittenDirectory(next, new BitmapsExtension(next.Entries.Count, next.Bytes.Length, new HostOffset(offset)));
        var error = await WriteDirectoryAsync(offset, next.Bytes);
        if (error < 0)
            GiveBack(written);
        return (error, written);
    }

    /// <summary>The header points to it.</summary>
    public void Become(WrittenDirectory written)
    {
        var before = _extension;
        _space.MoveDirectory(before, written.Extension);
        if (before is not null)
            _space.Free(before.DirectoryOffset.Value, ClustersOf(before.DirectorySize));
        (_extension, _directory) = (written.Extension, written.Extension is null ? null : written.Directory);
    }

    /// <summary>The header will not point to it.</summary>
    public void GiveBack(WrittenDirectory written)
    {
        if (written.Extension is { } extension)
            _space.Free(extension.DirectoryOffset.Value, ClustersOf(extension.DirectorySize));
    }

    private async LoopTask<int> WriteDirectoryAsync(long offset, byte[] bytes)
    {
        var pool = LoopScheduler.Current.Buffers;
        var buffer = pool.Rent((int)Rounding.Up(bytes.Length, _space.WriteUnit));
        buffer.Clear();
        bytes.CopyTo(buffer.Span);
        var error = await _space.File.WriteAsync(offset, buffer);
        pool.Return(buffer);
        return error;
    }
}

/// <summary>A directory that is in the file, and that the header does not point to yet.</summary>
/// <param name="Directory">what it says</param>
/// <param name="Extension">where it is; null if it has no entries</param>
internal sealed record WrittenDirectory(BitmapDirectoryBytes Directory, BitmapsExtension? Extension);
