using System;
using System.Buffers.Binary;

namespace Qcow2Blk.Format;

/// <summary>The disk as the header has it: its size, and its L1 table. All of it is in the first sector.</summary>
/// <param name="L1">where the table is</param>
/// <param name="Entries">of the table</param>
/// <param name="Size">bytes of the disk</param>
internal readonly record struct ActiveTable(HostOffset L1, int Entries, long Size)
{
    /// <param name="header">the first sector, or more</param>
    public void WriteTo(Span<byte> header)
    {
        BinaryPrimitives.WriteInt64BigEndian(header[HeaderField.Size..], Size);
        BinaryPrimitives.WriteInt32BigEndian(header[HeaderField.L1Size..], Entries);
        BinaryPrimitives.WriteInt64BigEndian(header[HeaderField.L1TableOffset..], L1.Value);
    }
}
