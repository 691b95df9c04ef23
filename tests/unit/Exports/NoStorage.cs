using Qcow2Blk.Buffers;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Tests.Exports;

/// <summary>The file of a disk that has none: whoever reads or writes it is told so.</summary>
internal sealed class NoStorage : IBlockStorage
{
    public string Path => "nothing";

    public long Length => 0;

    public bool ReadOnly => false;

    public int OffsetAlignment => 1;

    public int MemoryAlignment => 1;

    public long AllocatedBytes => 0;

    public FileRange FindRange(long offset) => FileRange.DataToTheEnd;

    public LoopTask<int> ReadAsync(long offset, NativeBuffer buffer) => Refused;

    public LoopTask<int> WriteAsync(long offset, NativeBuffer buffer) => Refused;

    public LoopTask<int> FlushAsync() => Refused;

    public LoopTask<int> PunchAsync(long offset, long length) => Refused;

    public LoopTask<int> ZeroAsync(long offset, long length) => Refused;

    public LoopTask<int> SetLengthAsync(long length) => Refused;

    public void Dispose()
    {
        // It holds nothing.
    }

    private static LoopTask<int> Refused => new(-Errno.ENXIO);
}
