using System;
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Qcow2Blk.Buffers;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Check;

/// <summary>A piece of native memory for one table or cluster at a time, aligned for direct I/O.</summary>
internal sealed unsafe class TableBuffer : IDisposable
{
    /// <summary>What any file accepts.</summary>
    private const int Alignment = 4096;

    private readonly nint _memory;

    public TableBuffer(int length)
    {
        Capacity = (length + Alignment - 1) / Alignment * Alignment;
        _memory = (nint)NativeMemory.AlignedAlloc((nuint)Capacity, Alignment);
    }

    public int Capacity { get; }

    public Span<byte> Span => Whole.Span;

    public NativeBuffer Whole => new(_memory, Capacity);

    public ulong this[int index] => BinaryPrimitives.ReadUInt64BigEndian(Span[(index * 8)..]);

    public NativeBuffer Take(int length) => Whole.Slice(0, length);

    /// <summary>Reads at most a buffer full; what lies past the end of the file is zeroes.</summary>
    public LoopTask<int> ReadAsync(IBlockStorage file, long offset, long length) =>
        file.ReadAsync(offset, Take((int)Math.Min(length, Capacity)));

    public void Dispose() => NativeMemory.AlignedFree((void*)_memory);
}
