using System;
using System.Runtime.InteropServices;
using Qcow2Blk.Buffers;
using Qcow2Blk.Image.Bitmaps;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image;

/// <summary>
/// A virtual disk: what exports serve and what overlays read through. Asynchronous members run on the disk's
/// home loop and return 0 or a negative errno; <c>TryMap…</c> may be called on any loop. Once <see cref="CloseAsync"/> has
/// begun they answer -ESHUTDOWN, and <c>TryMap…</c> soon false.
/// </summary>
internal interface IDisk
{
    /// <summary>Bytes of the disk, a multiple of 512.</summary>
    long Size { get; }

    bool ReadOnly { get; }

    /// <summary>Bytes that are mapped, and freed, as one: a cluster.</summary>
    long ClusterBytes { get; }

    /// <summary>
    /// Bytes that one call of <see cref="DiscardAsync"/> or <see cref="WriteZeroesAsync"/> should cover at most, so that nobody
    /// waits long for its end: a power of two, whole clusters.
    /// </summary>
    long TurnBytes { get; }

    /// <summary>Whether such a call may cover more where it takes no time: one call of a file system does all of it.</summary>
    bool TurnsMayGrow { get; }

    /// <summary>The file of the image itself, not of its backing images.</summary>
    IBlockStorage File { get; }

    /// <summary>Why the disk takes no more changes (a failed sync, corruption); null if it does.</summary>
    string? WriteErrorReason { get; }

    /// <summary>The requests in progress; a loop that uses <c>TryMap…</c> must be inside an epoch of it.</summary>
    RequestEpochs Epochs { get; }

    /// <summary>Finds one contiguous piece of file that holds the whole range, if the tables needed are cached.</summary>
    bool TryMapRead(long offset, int length, out FileExtent extent);

    /// <summary>Whether it is known without a look at the file that the whole range reads as zeroes.</summary>
    bool TryMapZeroes(long offset, int length);

    /// <summary>As <see cref="TryMapRead"/>, and the piece may be written in place.</summary>
    bool TryMapWrite(long offset, int length, out FileExtent extent);

    /// <summary>A write through <see cref="TryMapWrite"/> has ended: the next flush has something to do. Any loop.</summary>
    void NoteDirectWrite();

    /// <summary>The home loop has nothing else to do: what would be lost if the server is killed may be written down.</summary>
    void WriteBehindWhenIdle()
    {
        // What has no state of its own has nothing to write.
    }

    LoopTask<int> ReadAsync(long offset, NativeBuffer buffer);

    /// <param name="forceUnitAccess">whether the data must survive power loss when the task ends</param>
    LoopTask<int> WriteAsync(long offset, NativeBuffer buffer, bool forceUnitAccess);

    LoopTask<int> WriteZeroesAsync(long offset, long length, ZeroFlags flags);

    /// <summary>Frees the clusters wholly inside the range, which then read as zeroes; the rest is left alone.</summary>
    LoopTask<int> DiscardAsync(long offset, long length);

    /// <summary>Every write that ended before the call survives power loss when this returns 0.</summary>
    LoopTask<int> FlushAsync();

    /// <summary>Tells what the disk holds from <paramref name="offset"/> on: one extent, at most <paramref name="length"/> bytes.</summary>
    LoopTask<DiskExtent> MapAsync(long offset, long length);

    /// <summary>Reads tables ahead of a request to come.</summary>
    LoopTask<int> PrefetchAsync(long offset, long length);

    /// <summary>The bits of a persistent bitmap that is shown to clients. Home loop; good until something is awaited.</summary>
    /// <returns>null if there is none of that name</returns>
    DirtyBitmap? FindBitmap(string name) => null;

    /// <summary>
    /// Waits for the requests in progress, writes everything down and closes the files. The disk is of no use afterwards,
    /// whatever the result; a second call gets -ESHUTDOWN.
    /// </summary>
    LoopTask<int> CloseAsync();
}

/// <summary>A piece of a file, to be read or written without asking the image again.</summary>
/// <param name="MayBeHole">whether the file may have a hole there, which nothing is known of yet</param>
internal readonly record struct FileExtent(IBlockStorage File, long Offset, bool MayBeHole = false);

/// <summary>What <see cref="IDisk.WriteZeroesAsync"/> may and must do.</summary>
[Flags]
public enum ZeroFlags
{
    None = 0,

    /// <summary>The range may become a hole (NBD: no NBD_CMD_FLAG_NO_HOLE).</summary>
    MayUnmap = 1,

    /// <summary>Fail with -EOPNOTSUPP rather than write zeroes (NBD_CMD_FLAG_FAST_ZERO).</summary>
    Fast = 2,

    /// <summary>The zeroes must survive power loss when the task ends.</summary>
    ForceUnitAccess = 4,
}

/// <summary>What a range of the disk holds.</summary>
/// <param name="Error">0, or a negative errno; nothing else is valid then</param>
/// <param name="Length">bytes from the offset that was asked for</param>
/// <param name="IsHole">no space is allocated for it (NBD_STATE_HOLE)</param>
/// <param name="IsZero">it reads as zeroes (NBD_STATE_ZERO)</param>
/// <param name="Depth">0 if no image of the chain says anything of it, 1 for the top image, 2 for its backing image…</param>
[StructLayout(LayoutKind.Auto)]
internal readonly record struct DiskExtent(int Error, long Length, bool IsHole, bool IsZero, int Depth)
{
    /// <summary>How often files were asked for their holes; who asks for many extents has to stop somewhere.</summary>
    public int Seeks { get; init; }
}
