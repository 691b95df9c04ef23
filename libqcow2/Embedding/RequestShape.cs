namespace Qcow2Blk.Embedding;

/// <summary>What is asked for, all of it.</summary>
/// <param name="Kind">what</param>
/// <param name="Address">the buffer; of block status the array of extents</param>
/// <param name="Offset">on the disk</param>
/// <param name="Length">bytes</param>
/// <param name="Flags">how</param>
internal readonly record struct RequestShape(RequestKind Kind, nint Address, long Offset, long Length, RequestFlags Flags)
{
    /// <summary>Extents that there is room for.</summary>
    public int Extents { get; init; }

    public bool Has(RequestFlags flag) => (Flags & flag) != 0;

    /// <summary>Whether it is one read or write that nothing has to follow: it may go straight to the file.</summary>
    public bool IsPlainTransfer => Kind is RequestKind.Read or RequestKind.Write && Length is > 0 and <= ImageRequest.LargestPiece
        && !Has(RequestFlags.ForceUnitAccess);
}
