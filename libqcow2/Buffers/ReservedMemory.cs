using System;
using System.Numerics;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Buffers;

/// <summary>
/// Memory that is there from the start: taken and given back in blocks of 4 KiB times a power of two (a buddy allocator).
/// A server of a block device lives off it when the host has no memory left.
/// </summary>
/// <remarks>Invariant: a block is free or taken as a whole; a free block and its equally large free neighbour are one.</remarks>
internal sealed class ReservedMemory : IDisposable
{
    private const int UnitShift = 12;
    private const sbyte NotFree = -1;
    private const int None = -1;

    private readonly nint _start;
    private readonly nint _length;
    private readonly sbyte[] _freeOrder;
    private readonly int[] _next;
    private readonly int[] _previous;
    private readonly int[] _heads;

    /// <param name="length">a power of two, at least 4 KiB</param>
    /// <exception cref="InsufficientMemoryException">the host has no such memory</exception>
    public ReservedMemory(int length)
    {
        if (length < 1 << UnitShift || !BitOperations.IsPow2(length))
            throw new ArgumentOutOfRangeException(nameof(length), $"{length} bytes");
        var kind = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;
        _start = Files.Map((nuint)length, PROT_READ | PROT_WRITE, kind, -1, 0);
        if (_start == 0)
            throw new InsufficientMemoryException($"cannot reserve {length} bytes for I/O buffers");
        _length = length;
        var units = length >> UnitShift;
        _freeOrder = new sbyte[units];
        _next = new int[units];
        _previous = new int[units];
        _heads = new int[BitOperations.Log2((uint)units) + 1];
        Array.Fill(_freeOrder, NotFree);
        Array.Fill(_heads, None);
        Push(0, _heads.Length - 1);
    }

    /// <summary>Whether an address lies in this memory.</summary>
    public bool Owns(nint address) => address >= _start && address - _start < _length;

    /// <summary>Takes 2^<paramref name="shift"/> bytes, aligned to their size relative to the start.</summary>
    /// <returns>their address, or 0 if no such block is free</returns>
    public nint Take(int shift)
    {
        var order = Math.Max(0, shift - UnitShift);
        var from = order;
        while (from < _heads.Length && _heads[from] == None)
            from++;
        if (from >= _heads.Length)
            return 0;
        var block = _heads[from];
        Remove(block, from);
        while (from > order)
            Push(block + (1 << --from), from);
        return _start + ((nint)block << UnitShift);
    }

    /// <summary>Gives back what <see cref="Take"/> gave, with the same <paramref name="shift"/>.</summary>
    public void Give(nint address, int shift)
    {
        var block = (int)((address - _start) >> UnitShift);
        var order = Math.Max(0, shift - UnitShift);
        while (order < _heads.Length - 1 && _freeOrder[block ^ (1 << order)] == order)
        {
            Remove(block ^ (1 << order), order);
            block &= ~(1 << order);
            order++;
        }

        Push(block, order);
    }

    public void Dispose() => Files.Unmap(_start, (nuint)_length);

    private void Push(int block, int order)
    {
        _freeOrder[block] = (sbyte)order;
        _previous[block] = None;
        _next[block] = _heads[order];
        if (_heads[order] != None)
            _previous[_heads[order]] = block;
        _heads[order] = block;
    }

    private void Remove(int block, int order)
    {
        _freeOrder[block] = NotFree;
        if (_previous[block] == None)
            _heads[order] = _next[block];
        else
            _next[_previous[block]] = _next[block];
        if (_next[block] != None)
            _previous[_next[block]] = _previous[block];
    }
}
