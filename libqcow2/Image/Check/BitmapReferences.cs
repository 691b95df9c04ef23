using System;
using System.Collections.Generic;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Check;

/// <summary>
/// Counts bitmap directory, bitmap tables and bits. A damaged directory ends the check: nobody knows then which clusters it
/// meant, and qemu refuses such an image altogether.
/// </summary>
internal sealed class BitmapReferences(ImageUnderCheck image)
{
    public async LoopTask<int> CountAsync()
    {
        if (image.Header.Bitmaps is not { } bitmaps)
            return 0;
        using var buffer = new TableBuffer(bitmaps.DirectorySize);
        var error = await buffer.ReadAsync(image.File, bitmaps.DirectoryOffset.Value, bitmaps.DirectorySize);
        if (error < 0)
            return error;
        image.Count(bitmaps.DirectoryOffset.Value, bitmaps.DirectorySize, CheckSubject.Bitmaps);
        image.Tables.Add((bitmaps.DirectoryOffset.Value, bitmaps.DirectoryOffset.Value + bitmaps.DirectorySize));
        if (Parse(buffer.Span[..bitmaps.DirectorySize], bitmaps) is not { } entries)
            return 0;
        foreach (var entry in entries)
        {
            error = await CountAsync(entry);
            if (error < 0 || image.Result.Stopped is not null)
                return error;
        }

        return 0;
    }

    private IReadOnlyList<BitmapEntry>? Parse(ReadOnlySpan<byte> directory, BitmapsExtension bitmaps)
    {
        try
        {
            return BitmapDirectory.Parse(directory, bitmaps, image.Header);
        }
        catch (ImageFormatException damage)
        {
            image.Result.Stop(damage.Why);
            return null;
        }
    }

    private async LoopTask<int> CountAsync(BitmapEntry entry)
    {
        if (!IsPlausible(entry))
            return 0;
        var bytes = (long)entry.TableSize * sizeof(ulong);
        image.Count(entry.TableOffset.Value, bytes, CheckSubject.Bitmaps);
        if (!image.MayRead(bytes))
            return 0;
        using var pieces = new TablePieces(image.File);
        pieces.Begin(entry.TableOffset.Value, bytes);
        int count;
        while ((count = await pieces.NextAsync()) > 0)
        {
            for (var index = 0; index < count / sizeof(ulong); index++)
            {
                if (!BitmapTableEntry.TryDecode(pieces[index], image.ClusterSize, out var data))
                {
                    image.Result.Stop($"bitmap {Printable.Escape(entry.Name)}: bitmap table entry 0x{pieces[index]:x} at"
                        + $" 0x{pieces.Offset + index * sizeof(ulong):x} is invalid");
                    return 0;
                }

                if (data.Value != 0)
                    image.Count(data.Value, image.ClusterSize, CheckSubject.Bitmaps);
            }
        }

        return count;
    }

    /// <summary>A table of the right size for the disk, as far as that is promised: not of a bitmap that was in use.</summary>
    private bool IsPlausible(BitmapEntry entry)
    {
        var space = (Int128)entry.TableSize * image.ClusterSize;
        if (space > Limits.MaxBitmapDataBytes)
        {
            image.Result.Stop($"bitmap {Printable.Escape(entry.Name)}: its table has {entry.TableSize} entries, for more than"
                + $" {Limits.MaxBitmapDataBytes} bytes");
            return false;
        }

        var granule = 1L << entry.GranularityBits;
        var bits = (Rounding.Down(image.Header.Size, 512) + (Int128)granule - 1) / granule;
        var needed = Rounding.Up((long)((bits + 63) / 64 * 8), image.ClusterSize) / image.ClusterSize;
        if (entry.Type != BitmapDirectory.DirtyTrackingType || (!entry.Flags.HasFlag(BitmapFlags.InUse) && entry.TableSize != needed))
        {
            image.Result.Stop($"bitmap {Printable.Escape(entry.Name)}: type {entry.Type} with a table of {entry.TableSize} entries is not"
                + $" a bitmap of this disk, which needs {needed}");
            return false;
        }

        return true;
    }
}
