namespace Qcow2Blk.Inspect;

/// <summary>A range of the virtual disk and where it comes from, in the terms of <c>qemu-img map</c>.</summary>
/// <param name="Start">first byte on the virtual disk</param>
/// <param name="Length">bytes</param>
/// <param name="Depth">which image of the chain decides; 0 is the image itself</param>
/// <param name="Present">whether that image has an entry for the range</param>
/// <param name="Zero">whether it reads as zeroes</param>
/// <param name="Data">whether it is stored</param>
/// <param name="Compressed">whether it is stored compressed</param>
/// <param name="Offset">where in that image's file it is; null where there is no such place</param>
internal readonly record struct MapExtent(long Start, long Length, int Depth, bool Present, bool Zero, bool Data, bool Compressed,
    long? Offset)
{
    public long End => Start + Length;

    /// <summary>Whether <paramref name="next"/> goes on where this ends, in every respect.</summary>
    internal bool Continues(in MapExtent next) =>
        next.Start == End && next.Depth == Depth && next.Present == Present && next.Zero == Zero && next.Data == Data
            && next.Compressed == Compressed && next.Offset.HasValue == Offset.HasValue
            && (Offset is null || next.Offset == Offset + Length);
}
