using Qcow2Blk.Buffers;
using Qcow2Blk.Image;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Tests.Shared;

/// <summary>
/// Transfers as the loops of an export make them: straight to the piece of file that the disk names, inside an epoch; what has
/// no such piece, and what fails, goes the long way.
/// </summary>
internal static class LoopTransfer
{
    /// <summary>The loop that makes them: not the home loop.</summary>
    public const int Loop = 1;

    public static async LoopTask<int> ReadAsync(IDisk disk, long offset, NativeBuffer buffer)
    {
        var parity = disk.Epochs.Enter(Loop);
        var result = disk.TryMapRead(offset, buffer.Length, out var extent) ? await extent.File.ReadAsync(extent.Offset, buffer) : -1;
        disk.Epochs.Exit(Loop, parity);
        return result == 0 ? 0 : await disk.ReadAsync(offset, buffer);
    }

    public static async LoopTask<int> WriteAsync(IDisk disk, long offset, NativeBuffer buffer)
    {
        var parity = disk.Epochs.Enter(Loop);
        var result = -1;
        if (disk.TryMapWrite(offset, buffer.Length, out var extent))
        {
            result = await extent.File.WriteAsync(extent.Offset, buffer);
            disk.NoteDirectWrite();
        }

        disk.Epochs.Exit(Loop, parity);
        return result == 0 ? 0 : await disk.WriteAsync(offset, buffer, forceUnitAccess: false);
    }
}
