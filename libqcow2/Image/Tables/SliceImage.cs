using System;
using System.Runtime.InteropServices;
using Qcow2Blk.Buffers;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Tables;

/// <summary>Pieces of metadata as they were at one instant, on their way to disk. Reused from commit to commit.</summary>
/// <remarks>Invariant: the native copy is only freed while no write is in flight.</remarks>
internal sealed class SliceImage : IDisposable
{
    private const int MaximumParallelWrites = 32;

    private int[] _slots = new int[16];
    private long[] _offsets = new long[16];
    private int[] _lengths = new int[16];
    private unsafe byte* _data;
    private nuint _capacity;
    private nuint _used;

    private State _state;

    private enum State
    {
        Filling,
        Written,
        Durable,
    }

    public int Count { get; private set; }

    /// <summary>Whether all pieces survive power loss.</summary>
    public bool IsDurable => Count == 0 || _state == State.Durable;

    public int Slot(int index) => _slots[index];

    /// <param name="slot">the cache slot it came from, or -1</param>
    /// <param name="hostOffset">where in the file it belongs</param>
    /// <param name="content">its bytes; copied</param>
    public unsafe void Add(int slot, long hostOffset, ReadOnlySpan<byte> content)
    {
        Invariant.Holds(_state == State.Filling, "what is captured is not changed any more", (long)_state, hostOffset);
        Invariant.Holds(hostOffset > 0, "metadata that is captured has a place in the file", hostOffset, slot);
        if (Count == _slots.Length)
        {
            Array.Resize(ref _slots, Count * 2);
            Array.Resize(ref _offsets, Count * 2);
            Array.Resize(ref _lengths, Count * 2);
        }

        if (_used + (nuint)content.Length > _capacity)
            Grow(content.Length);
        content.CopyTo(new Span<byte>(_data + _used, content.Length));
        _slots[Count] = slot;
        _offsets[Count] = hostOffset;
        _lengths[Count] = content.Length;
        _used += (nuint)content.Length;
        Count++;
    }

    /// <summary>Writes all pieces, several at once; neighbours in the file that follow each other go as one.</summary>
    public async LoopTask<int> WriteAsync(IBlockStorage file)
    {
        const int longestWrite = 1 << 20;
        var position = 0L;
        var index = 0;
        var group = TaskGroup.Rent();
        try
        {
            while (index < Count)
            {
                var offset = _offsets[index];
                var length = _lengths[index++];
                while (index < Count && _offsets[index] == offset + length && length < longestWrite)
                    length += _lengths[index++];
                group.Add(file.WriteAsync(offset, Piece(position, length)));
                position += length;
                if (group.Pending < MaximumParallelWrites)
                    continue;
                var error = await group.WaitAsync();
                if (error < 0)
                    return error;
                group = TaskGroup.Rent();
            }
        }
        catch (InvariantBreach)
        {
            await group.WaitAsync();
            throw;
        }

        var result = await group.WaitAsync();
        if (result == 0)
            _state = State.Written;
        return result;
    }

    /// <summary>A sync that began after the writes has ended.</summary>
    public void Synced()
    {
        if (_state == State.Written)
            _state = State.Durable;
    }

    public void Clear()
    {
        const nuint keep = 256 * 1024;
        Count = 0;
        _used = 0;
        _state = State.Filling;
        if (_capacity > keep)
            Dispose();
    }

    public unsafe void Dispose()
    {
        NativeMemory.AlignedFree(_data);
        _data = null;
        _capacity = 0;
    }

    private unsafe NativeBuffer Piece(long position, int length) => new((nint)(_data + position), length);

    private unsafe void Grow(int more)
    {
        const nuint page = 4096;
        var capacity = Math.Max(_capacity * 2, (_used + (nuint)more + page - 1) & ~(page - 1));
        var bigger = (byte*)NativeMemory.AlignedAlloc(capacity, page);
        if (_used > 0)
            NativeMemory.Copy(_data, bigger, _used);
        NativeMemory.AlignedFree(_data);
        _data = bigger;
        _capacity = capacity;
    }
}
