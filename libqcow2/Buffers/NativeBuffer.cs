using System;
using System.Buffers;

namespace Qcow2Blk.Buffers;

/// <summary>A piece of native memory, by value. It owns nothing: whoever rented the memory returns it.</summary>
/// <remarks>Invariant: <c>Address .. Address + Length</c> is mapped for as long as an I/O uses it.</remarks>
internal readonly unsafe struct NativeBuffer(nint address, int length) : IEquatable<NativeBuffer>
{
    /// <summary>All of an owner's memory, which the owner must outlive every I/O with.</summary>
    /// <param name="owner">one of native memory: it never moves, and pinning it costs nothing</param>
    internal static NativeBuffer Of(IMemoryOwner<byte> owner)
    {
        using var pin = owner.Memory.Pin();
        return new NativeBuffer((nint)pin.Pointer, owner.Memory.Length);
    }

    public nint Address { get; } = address;

    public int Length { get; } = length;

    public bool IsEmpty => Length == 0;

    public Span<byte> Span => new((void*)Address, Length);

    public NativeBuffer Slice(int start) => Slice(start, Length - start);

    public NativeBuffer Slice(int start, int length)
    {
        if ((uint)start > (uint)Length || (uint)length > (uint)(Length - start))
            throw new ArgumentOutOfRangeException(nameof(start), $"slice {start}+{length} of {Length} bytes");
        return new NativeBuffer(Address + start, length);
    }

    public void Clear() => Span.Clear();

    public bool Equals(NativeBuffer other) => Address == other.Address && Length == other.Length;

    public override bool Equals(object? obj) => obj is NativeBuffer other && Equals(other);

    public override int GetHashCode() => HashCode.Combine(Address, Length);

    public static bool operator ==(NativeBuffer left, NativeBuffer right) => left.Equals(right);

    public static bool operator !=(NativeBuffer left, NativeBuffer right) => !left.Equals(right);
}
