using System;
using System.Collections.Generic;

namespace Qcow2Blk.Format;

/// <summary>Flags of a bitmap directory entry.</summary>
[Flags]
internal enum BitmapFlags : uint
{
    None = 0,

    /// <summary>Bit 0, in_use: "the bitmap was not saved correctly and may be inconsistent".</summary>
    InUse = 1,

    /// <summary>Bit 1, auto: "the bitmap must reflect all changes of the virtual disk by any application that would write".</summary>
    Auto = 2,

    /// <summary>Bit 2, extra_data_compatible: the bitmap may be used by who does not know its extra data.</summary>
    ExtraDataCompatible = 4,

    /// <summary>Every bit that has a meaning; bits 3 to 31 are reserved and must be 0.</summary>
    Known = InUse | Auto | ExtraDataCompatible,
}

/// <summary>One bitmap (specification, "Bitmap directory").</summary>
internal sealed record BitmapEntry
{
    /// <summary>Where the flags are in an entry: for editing them in place.</summary>
    public const int FlagsField = 12;

    public required string Name { get; init; }

    /// <summary>Bytes 12 to 15.</summary>
    public required BitmapFlags Flags { get; init; }

    /// <summary>Byte 16: 1 dirty tracking bitmap; others are unknown.</summary>
    public required byte Type { get; init; }

    /// <summary>Byte 17: one bit stands for 1 &lt;&lt; this many bytes of the disk.</summary>
    public required int GranularityBits { get; init; }

    /// <summary>Bytes 0 to 7: where the bitmap table starts; cluster aligned.</summary>
    public required HostOffset TableOffset { get; init; }

    /// <summary>Bytes 8 to 11: entries in the bitmap table.</summary>
    public required int TableSize { get; init; }

    /// <summary>Bytes 20 to 23: bytes of extra data, which we keep and do not know.</summary>
    public required int ExtraDataSize { get; init; }

    /// <summary>Whether it must follow every write from now on, and has followed all until now.</summary>
    public bool IsRecording => (Flags & (BitmapFlags.Auto | BitmapFlags.InUse)) == BitmapFlags.Auto;

    /// <summary>
    /// recording, disabled (it stands still, and is right about the time it was made for), or inconsistent (of no use any more).
    /// </summary>
    public string State => Flags.HasFlag(BitmapFlags.InUse) ? "inconsistent" : IsRecording ? "recording" : "disabled";

    /// <summary>The flags in the words of <c>qemu-img info</c>.</summary>
    public IReadOnlyList<string> FlagNames =>
    [
        .. Flags.HasFlag(BitmapFlags.InUse) ? (string[])["in-use"] : [],
        .. Flags.HasFlag(BitmapFlags.Auto) ? (string[])["auto"] : [],
    ];

    /// <summary>Where this entry starts in the directory.</summary>
    public required int EntryOffset { get; init; }
}
