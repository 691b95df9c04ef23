using System;
using System.Collections.Generic;
using System.Numerics;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Buffers;

/// <summary>
/// Page-aligned native memory of one loop in power-of-two sizes. Last in, first out: the memory handed out is the
/// one that is still in the processor's cache.
/// </summary>
/// <remarks>Invariant: a buffer is mapped from <see cref="Rent"/> to <see cref="Return"/>; each is returned once, with the length it was
/// rented for.</remarks>
internal sealed class NativeBufferPool : IDisposable
{
    private const int MinimumShift = 12;
    private const int MaximumShift = 26;
    private const int SlabShift = 18;

    // What a loop keeps of free large buffers while it is busy: as much as some clients have in progress. What came with a
    // crowd goes with it.
    private const long LargestKept = 64 << 20;

    private readonly Stack<nint>[] _free = new Stack<nint>[MaximumShift - MinimumShift + 1];
    private readonly Stack<nint> _others = new();
    private readonly List<nint> _slabs = [];
    private ReservedMemory? _reserve;
    private long _freeLargeBytes;

    public NativeBufferPool()
    {
        for (var i = 0; i < _free.Length; i++)
            _free[i] = new Stack<nint>();
    }

    /// <summary>Bytes mapped by the pool, in use or not.</summary>
    public long MappedBytes { get; private set; }

    /// <summary>
    /// Takes memory now that is used before any other and never given back to the host: what serves a block device must
    /// not wait for memory that only that device's writes can free.
    /// </summary>
    /// <param name="bytes">a power of two</param>
    /// <exception cref="InsufficientMemoryException">the host has no such memory</exception>
    public void Reserve(int bytes)
    {
        if (_reserve is not null)
            throw new InvalidOperationException("memory is reserved once");
        _reserve = new ReservedMemory(bytes);
        MappedBytes += bytes;
    }

    /// <summary>Memory of at least <paramref name="length"/> bytes; its content is whatever it was.</summary>
    public NativeBuffer Rent(int length)
    {
        var shift = ShiftFor(length);
        var stack = _free[shift - MinimumShift];
        if (stack.Count == 0)
            Fill(stack, shift);
        else if (shift > SlabShift && _reserve is null)
            _freeLargeBytes -= 1L << shift;
        return new NativeBuffer(stack.Pop(), length);
    }

    public void Return(NativeBuffer buffer)
    {
        var shift = ShiftFor(buffer.Length);
        if (shift > SlabShift && _reserve is null && !TryKeep(buffer.Address, shift))
            return;
        _free[shift - MinimumShift].Push(buffer.Address);
    }

    /// <summary>Gives free memory of the large sizes back to the kernel.</summary>
    public void Trim()
    {
        for (var shift = SlabShift; shift <= MaximumShift; shift++)
        {
            var stack = _free[shift - MinimumShift];
            while (stack.TryPop(out var address))
            {
                if (_reserve is not null && _reserve.Owns(address))
                {
                    _reserve.Give(address, shift);
                    continue;
                }

                Files.Unmap(address, (nuint)1 << shift);
                MappedBytes -= 1L << shift;
            }
        }

        _freeLargeBytes = 0;
    }

    /// <summary>Gives everything back. No buffer may be in use.</summary>
    public void Dispose()
    {
        Trim();
        foreach (var slab in _slabs)
            Files.Unmap(slab, (nuint)1 << SlabShift);
        _slabs.Clear();
        foreach (var stack in _free)
            stack.Clear();
        _reserve?.Dispose();
        _reserve = null;
        MappedBytes = 0;
    }

    /// <summary>Whether a large buffer stays here; if not, it is the kernel's again.</summary>
    private bool TryKeep(nint address, int shift)
    {
        if (_freeLargeBytes + (1L << shift) <= LargestKept)
        {
            _freeLargeBytes += 1L << shift;
            return true;
        }

        Files.Unmap(address, (nuint)1 << shift);
        MappedBytes -= 1L << shift;
        return false;
    }

    private bool TryFillFromReserve(Stack<nint> stack, int shift)
    {
        if (_reserve is null)
            return false;
        var address = _reserve.Take(shift);
        if (address == 0)
        {
            // Free buffers of other sizes are kept apart for speed: put together they may do.
            ReturnReserve();
            address = _reserve.Take(shift);
        }

        if (address == 0)
            return false;
        stack.Push(address);
        return true;
    }

    private void ReturnReserve()
    {
        for (var i = 0; i < _free.Length; i++)
        {
            for (var left = _free[i].Count; left > 0; left--)
            {
                var address = _free[i].Pop();
                if (_reserve!.Owns(address))
                    _reserve.Give(address, i + MinimumShift);
                else
                    _others.Push(address);
            }

            while (_others.TryPop(out var other))
                _free[i].Push(other);
        }
    }

    private static int ShiftFor(int length)
    {
        var shift = Math.Max(MinimumShift, 32 - BitOperations.LeadingZeroCount((uint)(length - 1)));
        if (length <= 0 || shift > MaximumShift)
            throw new ArgumentOutOfRangeException(nameof(length), $"{length} bytes");
        return shift;
    }

    private void Fill(Stack<nint> stack, int shift)
    {
        if (TryFillFromReserve(stack, shift))
            return;

        // Small buffers are cut from one mapping, so that a thousand of them are not a thousand mappings.
        var length = (nuint)1 << Math.Max(shift, SlabShift);
        var memory = Files.Map(length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == 0)
            throw new InsufficientMemoryException($"cannot map {length} bytes for I/O buffers");
        MappedBytes += (long)length;
        if (shift < SlabShift)
            _slabs.Add(memory);
        for (var offset = (nint)length; offset > 0; offset -= (nint)1 << shift)
            stack.Push(memory + offset - ((nint)1 << shift));
    }
}
