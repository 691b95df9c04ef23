using System.Runtime.InteropServices;

namespace Qcow2Blk.Embedding;

/// <summary>A range of the disk that is alike, as struct qcow2blk_extent has it.</summary>
[StructLayout(LayoutKind.Sequential)]
internal record struct StatusExtent(ulong Offset, ulong Length, uint Flags, uint Depth)
{
    public const uint Hole = 1;
    public const uint Zero = 2;
    public const uint Dirty = 4;
}
