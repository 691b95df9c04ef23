using System.Runtime.InteropServices;
using Qcow2Blk.Format;

namespace Qcow2Blk.Image.Map;

/// <summary>Where a piece of the disk is, as one image says: all of it of one kind, and data in one piece of the file.</summary>
/// <param name="Kind">never whole clusters only: of the piece's subclusters</param>
/// <param name="Host">
/// where the piece begins: data in the data storage; a compressed cluster (its first byte, wherever in it the piece begins) in the
/// image file. Meaningless for other kinds
/// </param>
/// <param name="Length">bytes of the disk, at most as many as were asked for</param>
[StructLayout(LayoutKind.Auto)]
internal readonly record struct Mapping(L2Kind Kind, HostOffset Host, long Length)
{
    /// <summary>Whether the host clusters are used by nothing else, so that data is written in place.</summary>
    public bool Copied { get; init; }

    /// <summary>As <see cref="L2Entry.CompressedLength"/>, of a compressed cluster.</summary>
    public int CompressedLength { get; init; }

    /// <summary>The first entry, for messages.</summary>
    public StoredL2Entry Stored { get; init; }
}
