using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Remote;

/// <summary>
/// A base in a store that nobody has to read, because only its overlay is worked on. It is as long as one can be: what shows through
/// the overlay is never taken for zeroes.
/// </summary>
/// <param name="name">of the base, for messages</param>
internal sealed class AwayStorage(string name) : IBlockStorage
{
    public string Path => name;

    public long Length => Limits.MaxFileBytes;

    public bool ReadOnly => true;

    public int OffsetAlignment => 1;

    public int MemoryAlignment => 1;

    public long AllocatedBytes => Length;

    public bool HasFixedLength => true;

    public FileRange FindRange(long offset) => FileRange.DataToTheEnd;

    public LoopTask<int> ReadAsync(long offset, NativeBuffer buffer) => new(-Errno.EIO);

    public LoopTask<int> WriteAsync(long offset, NativeBuffer buffer) => new(-Errno.EROFS);

    public LoopTask<int> FlushAsync() => new(0);

    public LoopTask<int> PunchAsync(long offset, long length) => new(-Errno.EROFS);

    public LoopTask<int> ZeroAsync(long offset, long length) => new(-Errno.EROFS);

    public LoopTask<int> SetLengthAsync(long length) => new(-Errno.EROFS);

    public void Dispose()
    {
        // It holds nothing.
    }
}
