using System;

namespace Qcow2Blk.Format;

/// <summary>
/// Header bytes 88 to 95: "An implementation may only write to an image with unknown auto-clear features if it clears
/// the respective bits from this field first."
/// </summary>
[Flags]
internal enum AutoclearFeatures : ulong
{
    None = 0,

    /// <summary>Bit 0. The bitmaps extension is consistent; "it is an error if this bit is set without the bitmaps extension
    /// present".</summary>
    Bitmaps = 1,

    /// <summary>Bit 1. The external data file can be read as a consistent standalone raw image.</summary>
    RawExternalData = 2,

    /// <summary>
    /// Bit 55, of ours, which the specification has no meaning for: the bitmaps that are marked in use and record lack nothing, as their
    /// server keeps them so at every moment. Every other program that may write clears it.
    /// </summary>
    KeptBitmaps = 1UL << 55,

    /// <summary>Every bit that has a meaning.</summary>
    Known = Bitmaps | RawExternalData,
}

/// <summary>
/// Bits 56 to 63, which the specification has no meaning for: a number that a server of ours keeps there while it has a
/// recovery log. Every other program that may write clears it, so it says that none has.
/// </summary>
internal static class RecoveryMarks
{
    private const int Shift = 56;
    private const ulong Mask = (ulong)byte.MaxValue << Shift;

    /// <returns>0 if there is none</returns>
    public static byte RecoveryMark(this AutoclearFeatures features) => (byte)((ulong)features >> Shift);

    /// <param name="features">the bits beside it</param>
    /// <param name="mark">0 for none</param>
    public static AutoclearFeatures WithRecoveryMark(this AutoclearFeatures features, byte mark) =>
        (AutoclearFeatures)(((ulong)features & ~Mask) | ((ulong)mark << Shift));
}
