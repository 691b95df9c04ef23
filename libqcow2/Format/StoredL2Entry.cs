namespace Qcow2Blk.Format;

/// <summary>
/// An entry of an L2 table as it is stored, in host byte order: one word, or two in an image with extended L2 entries
/// (specification, "L2 table entry" and "Extended L2 Entries").
/// </summary>
/// <param name="Descriptor">the cluster descriptor</param>
/// <param name="Bitmap">the subcluster allocation bitmap; 0 in an image without extended L2 entries</param>
internal readonly record struct StoredL2Entry(ulong Descriptor, ulong Bitmap = 0)
{
    /// <summary>Nothing is there: neither a host cluster nor anything said of the subclusters.</summary>
    public bool IsEmpty => (Descriptor | Bitmap) == 0;

    /// <summary>For messages: 0x8000000000050000, or 0x8000000000050000/0xff.</summary>
    public override string ToString() => Bitmap == 0 ? $"0x{Descriptor:x}" : $"0x{Descriptor:x}/0x{Bitmap:x}";
}
