using System;
using System.Buffers;
using System.Buffers.Binary;
using DotNext.Buffers;
using Qcow2Blk.Buffers;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Check;

/// <summary>A piece of native memory for one table or cluster at a time, aligned for direct I/O.</summary>
internal sealed class TableBuffer : IDisposable
{
    private readonly IMemoryOwner<byte> _memory;

    public TableBuffer(int length)
    {
        _memory = UnmanagedMemory.AllocatePageAlignedMemory(length, roundUpSize: true);
        Whole = NativeBuffer.Of(_memory);
    }

    public int Capacity => Whole.Length;

    public Span<byte> Span => Whole.Span;

    public NativeBuffer Whole { get; }

    public ulong this[int index] => BinaryPrimitives.ReadUInt64BigEndian(Span[(index * 8)..]);

    public NativeBuffer Take(int length) => Whole.Slice(0, length);

    /// <summary>Reads at most a buffer full; what lies past the end of the file is zeroes.</summary>
    public LoopTask<int> ReadAsync(IBlockStorage file, long offset, long length) =>
        file.ReadAsync(offset, Take((int)Math.Min(length, Capacity)));

    public void Dispose() => _memory.Dispose();
}
