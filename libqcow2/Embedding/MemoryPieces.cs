using System;

namespace Qcow2Blk.Embedding;

/// <summary>A buffer of a program, as struct iovec has it.</summary>
internal readonly record struct MemoryPiece(nint Address, nuint Length);

/// <summary>The buffers of a program that stand for one range, as struct iovec has them.</summary>
/// <remarks>Invariant: the program promises that each piece is valid memory until its request has ended.</remarks>
internal static unsafe class MemoryPieces
{
    /// <summary>Copies all pieces, one after the other.</summary>
    /// <param name="pieces">their lengths add up to that of the target</param>
    /// <param name="target">is filled</param>
    public static void Gather(ReadOnlySpan<MemoryPiece> pieces, Span<byte> target)
    {
        foreach (var (address, length) in pieces)
        {
            new ReadOnlySpan<byte>((void*)address, (int)length).CopyTo(target);
            target = target[(int)length..];
        }
    }

    /// <summary>The other way round.</summary>
    public static void Scatter(ReadOnlySpan<byte> source, ReadOnlySpan<MemoryPiece> pieces)
    {
        foreach (var (address, length) in pieces)
        {
            source[..(int)length].CopyTo(new Span<byte>((void*)address, (int)length));
            source = source[(int)length..];
        }
    }
}
