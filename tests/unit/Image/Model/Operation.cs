using System;
using FsCheck;
using FsCheck.Fluent;
using Qcow2Blk.Image;

namespace Qcow2Blk.Tests.Image.Model;

internal enum OperationKind
{
    Write,
    Read,
    Zero,
    Discard,
    Flush,
    Map,
}

/// <summary>One request; <paramref name="Start"/> and <paramref name="Length"/> are folded into the disk at hand.</summary>
internal sealed record Operation(OperationKind Kind, int Start, int Length, byte Value, bool Force)
{
    public ZeroFlags Flags => (Value % 2 == 0 ? ZeroFlags.MayUnmap : 0) | (Force ? ZeroFlags.ForceUnitAccess : 0);

    /// <summary>Whether a read or write goes straight to the file where the disk allows it, as on the loops of exports.</summary>
    public bool Direct => !Force && Value / 2 % 2 == 0;

    public static Arbitrary<Operation[]> Lists { get; } = Arb.From(Gen.ArrayOf(Single()), Shrink);

    /// <summary>Where the request goes on a disk of <paramref name="size"/> bytes.</summary>
    public (long Offset, int Length) On(long size)
    {
        var offset = Start % size;
        return (offset, (int)Math.Min(Length, size - offset));
    }

    private static Gen<Operation> Single() =>
        from kind in Gen.Frequency((6, Gen.Constant(OperationKind.Write)), (3, Gen.Constant(OperationKind.Read)),
            (2, Gen.Constant(OperationKind.Zero)), (2, Gen.Constant(OperationKind.Discard)), (1, Gen.Constant(OperationKind.Flush)),
            (2, Gen.Constant(OperationKind.Map)))
        from grain in Gen.Elements(1, 1, 512, 4096, 65536)
        from start in Gen.Choose(0, 8 << 20)
        from size in Gen.Elements(3, 512, 5000, 70_000, 300_000)
        from length in Gen.Choose(1, size)
        from value in Gen.Choose(0, 255)
        from force in Gen.Elements(false, false, false, true)
        select new Operation(kind, start / grain * grain, Math.Max(1, length / grain) * grain, (byte)value, force);

    /// <summary>Leaves out halves, then single operations: what fails is short when it is shown.</summary>
    private static System.Collections.Generic.IEnumerable<Operation[]> Shrink(Operation[] list)
    {
        for (var piece = list.Length / 2; piece > 0; piece /= 2)
        {
            for (var at = 0; at + piece <= list.Length; at += piece)
                yield return [.. list.AsSpan(0, at), .. list.AsSpan(at + piece)];
        }
    }
}
