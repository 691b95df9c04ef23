using Qcow2Blk.Buffers;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Tests.Exports;

/// <summary>A file whose syncs fail as often as a test says; its other operations are those of the file.</summary>
internal sealed class FailingStorage(IBlockStorage file) : IBlockStorage
{
    /// <summary>Syncs that fail from now on, and with what (negative errno). Home loop.</summary>
    public (int Count, int Error) Failing { get; set; }

    public string Path => file.Path;

    public long Length => file.Length;

    public long AllocatedBytes => file.AllocatedBytes;

    public bool ReadOnly => file.ReadOnly;

    public int OffsetAlignment => file.OffsetAlignment;

    public int MemoryAlignment => file.MemoryAlignment;

    public FileRange FindRange(long offset) => file.FindRange(offset);

    public LoopTask<int> ReadAsync(long offset, NativeBuffer buffer) => file.ReadAsync(offset, buffer);

    public LoopTask<int> WriteAsync(long offset, NativeBuffer buffer) => file.WriteAsync(offset, buffer);

    public LoopTask<int> FlushAsync()
    {
        if (Failing.Count <= 0)
            return file.FlushAsync();
        Failing = Failing with { Count = Failing.Count - 1 };
        return new LoopTask<int>(Failing.Error);
    }

    public LoopTask<int> PunchAsync(long offset, long length) => file.PunchAsync(offset, length);

    public LoopTask<int> ZeroAsync(long offset, long length) => file.ZeroAsync(offset, length);

    public LoopTask<int> SetLengthAsync(long length) => file.SetLengthAsync(length);

    public void Dispose() => file.Dispose();
}
