using System.Collections.Generic;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Bitmaps;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Snapshots;

/// <summary>Another bitmap directory, which becomes the image's with the write that makes something else true.</summary>
internal sealed class DirectorySwitch(SnapshotParts parts, BitmapSet set)
{
    private readonly ImageContext _context = parts.Context;
    private readonly bool _hadExtension = parts.Context.Header.Bitmaps is not null;
    private WrittenDirectory? _written;

    /// <summary>What only the next directory names.</summary>
    public List<StoredBitmap> Made { get; } = [];

    /// <summary>What only the present one names.</summary>
    public List<StoredBitmap> Replaced { get; } = [];

    /// <summary>Goes with the write of the header. Before it, a commit.</summary>
    public BitmapsSwitch Value => new(_written!.Extension);

    /// <summary>Writes the next directory, and makes room for it in the header.</summary>
    /// <returns>why not; null if it can be switched to. Either way <see cref="EndAsync"/> has to follow</returns>
    public async LoopTask<EditAnswer?> PrepareAsync(BitmapDirectoryBytes directory)
    {
        var (error, written) = await set.WriteDirectoryAsync(directory);
        if (error < 0)
            return EditAnswer.OfErrno(error, "cannot write the bitmap directory");
        _written = written;
        if (written.Extension is not { } extension)
            return null;
        try
        {
            error = await _context.HeaderBlock.MakeRoomAsync(extension, _context.Geometry.ClusterSize);
            if (error == 0)
                return null;
            _context.SyncFailed(error);
            return EditAnswer.OfErrno(error, "cannot write the header");
        }
        catch (ImageFormatException noRoom)
        {
            return EditAnswer.Refused(EditResult.Failed, noRoom.Why);
        }
    }

    /// <summary>Gives up what no directory names now.</summary>
    /// <param name="switched">whether the header names the next one; if nobody knows, writing has stopped, and all stays</param>
    public async LoopTask<int> EndAsync(bool switched)
    {
        if (_context.WriteError != 0)
            return 0;
        if (switched)
            set.Become(_written!);
        else if (_written is not null)
            set.GiveBack(_written);
        foreach (var stored in switched ? Replaced : Made)
            set.Free(stored);

        // Without bitmaps the extension is not believed, and has no place in the header.
        var isWithout = switched ? _written!.Extension is null : !_hadExtension;
        return isWithout ? await _context.HeaderBlock.SetBitmapsAsync(null, _context.Geometry.ClusterSize) : 0;
    }
}
