using System;
using Qcow2Blk.Buffers;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Storage;

/// <summary>
/// Where the bytes of one file live. Positional, asynchronous, on the calling thread's loop. All methods return
/// 0 or a negative errno; a transfer is whole or failed, never short.
/// </summary>
internal interface IBlockStorage : IDisposable
{
    /// <summary>The path as it was opened, for messages.</summary>
    string Path { get; }

    /// <summary>Bytes in the file: its size when opened, then what <see cref="SetLengthAsync"/> and writes made of it.</summary>
    long Length { get; }

    bool ReadOnly { get; }

    /// <summary>
    /// What offset and length of a transfer must be a multiple of to go straight to the file (1, 512 or 4096).
    /// A power of two. Reads of any alignment are accepted (bounced); writes must be aligned.
    /// </summary>
    int OffsetAlignment { get; }

    /// <summary>What the memory of a transfer must be a multiple of to go straight to the file. A power of two.</summary>
    int MemoryAlignment { get; }

    /// <summary>
    /// With O_DIRECT on a file system: bytes of its blocks, a power of two; 1 otherwise. Where part of a block is punched or zeroed, or
    /// the file ends in it and grows, the kernel changes a copy in the page cache, and writes that back over what was written
    /// directly beside it meanwhile, or fails the next sync with EIO ("page cache invalidation failure on direct I/O").
    /// </summary>
    int BlockBytes => 1;

    /// <summary>Bytes that the file took on its file system when it was opened; all of a block device.</summary>
    long AllocatedBytes { get; }

    /// <summary>
    /// The file that holds these bytes as they are, at the same offsets: transfers may go straight to it
    /// (<see cref="FileStorage.Descriptor"/>). Null if they must pass through this object.
    /// </summary>
    FileStorage? DirectFile => null;

    /// <summary>
    /// The file that holds these bytes encrypted, at the same offsets; null if there is none: never beside
    /// <see cref="DirectFile"/>.
    /// </summary>
    ICipherFile? CipherFile => null;

    /// <summary>
    /// The file that holds parts of these bytes, at the same offsets; null if there is none: never beside
    /// <see cref="DirectFile"/> or <see cref="CipherFile"/>.
    /// </summary>
    ICachedFile? CachedFile => null;

    /// <summary>Whether the length is given, not ours to change: a block device.</summary>
    bool HasFixedLength => false;

    /// <summary>Whether the bytes are in memory (tmpfs), so that transfers never wait for a device.</summary>
    bool IsMemory => false;

    /// <summary>What tells the file from others; null if it has no such identity.</summary>
    FileIdentity? Identity => null;

    /// <summary>
    /// Milliseconds since 1970 when the file was last written; null where the time is not of this machine's clock (a
    /// file system of the network) or not the file's own (a device node).
    /// </summary>
    long? Modified() => null;

    /// <summary>
    /// Tells whether the file has a hole at <paramref name="offset"/>, and how far that goes. What was written by a write that
    /// ended before the call is data, flushed or not; where the file cannot tell, all is data. Home loop. That a range is a
    /// hole is true only until the next write: the answer is for the request that asked, and not to be kept.
    /// </summary>
    FileRange FindRange(long offset);

    /// <summary>Reads; what lies past the end of the file reads as zeroes.</summary>
    LoopTask<int> ReadAsync(long offset, NativeBuffer buffer);

    /// <summary>As <see cref="ReadAsync"/>, for guest data.</summary>
    /// <param name="offset">where it is in the file</param>
    /// <param name="guestOffset">where it is on the disk: what legacy encryption goes by</param>
    /// <param name="buffer">where it goes</param>
    LoopTask<int> ReadGuestAsync(long offset, long guestOffset, NativeBuffer buffer) => ReadAsync(offset, buffer);

    LoopTask<int> WriteAsync(long offset, NativeBuffer buffer);

    /// <summary>fdatasync: every write that completed before the call survives power loss when it returns 0.</summary>
    LoopTask<int> FlushAsync();

    /// <summary>
    /// Frees the range in the file (FALLOC_FL_PUNCH_HOLE); it reads as zeroes afterwards. -EOPNOTSUPP if the file
    /// system cannot.
    /// </summary>
    LoopTask<int> PunchAsync(long offset, long length);

    /// <summary>Makes the range read as zeroes, by the cheapest means there is; may write zeroes.</summary>
    LoopTask<int> ZeroAsync(long offset, long length);

    /// <summary>Grows or cuts the file; new space reads as zeroes. -EINVAL on a block device.</summary>
    LoopTask<int> SetLengthAsync(long length);
}
