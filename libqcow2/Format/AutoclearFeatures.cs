using System;

namespace Qcow2Blk.Format;

/// <summary>
/// Header bytes 88 to 95: "An implementation may only write to an image with unknown auto-clear features if it clears
/// the respective bits from this field first."
/// </summary>
[Flags]
public enum AutoclearFeatures : ulong
{
    None = 0,

    /// <summary>Bit 0. The bitmaps extension is consistent; "it is an error if this bit is set without the bitmaps extension present".</summary>
    Bitmaps = 1,

    /// <summary>Bit 1. The external data file can be read as a consistent standalone raw image.</summary>
    RawExternalData = 2,

    /// <summary>Every bit that has a meaning.</summary>
    Known = Bitmaps | RawExternalData,
}
