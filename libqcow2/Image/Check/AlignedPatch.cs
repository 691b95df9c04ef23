using System;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Check;

/// <summary>Writes of any alignment to a file that takes only aligned ones: what is around is read and written back.</summary>
internal static class AlignedPatch
{
    /// <param name="patch">the bytes to write at <paramref name="offset"/></param>
    public static async LoopTask<int> WriteAsync(IBlockStorage file, long offset, byte[] patch)
    {
        // Never below a disk's sector: what is written at once must not be torn.
        var unit = Math.Max(512, file.OffsetAlignment);
        var start = Rounding.Down(offset, unit);
        var length = (int)(Rounding.Up(offset + patch.Length, unit) - start);
        using var buffer = new TableBuffer(length);
        var error = await file.ReadAsync(start, buffer.Take(length));
        if (error < 0)
            return error;
        patch.CopyTo(buffer.Span[(int)(offset - start)..]);
        return await file.WriteAsync(start, buffer.Take(length));
    }
}
