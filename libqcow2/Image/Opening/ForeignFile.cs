using System;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Opening;

/// <summary>Reads of a file what tells what it is, when it is not a qcow2 image.</summary>
internal static class ForeignFile
{
    /// <summary>Whether an image was refused because it may be something else.</summary>
    public static bool MayBe(ImageFormatException error) => error.Field is "magic" or "version";

    /// <returns>a refusal that names what the file is; null if nobody knows, or it cannot be read</returns>
    public static async LoopTask<ImageFormatException?> NameAsync(IBlockStorage file)
    {
        var pool = LoopScheduler.Current.Buffers;
        var start = pool.Rent((int)Math.Clamp(file.Length, 1, FileKind.StartBytes));
        var end = pool.Rent((int)Math.Clamp(file.Length, 1, FileKind.EndBytes));
        try
        {
            if (await file.ReadAsync(0, start) < 0 || await file.ReadAsync(Math.Max(file.Length - end.Length, 0), end) < 0)
                return null;
            return FileKind.Refusal(file.Path, file.Length == 0 ? [] : start.Span, end.Span);
        }
        finally
        {
            pool.Return(start);
            pool.Return(end);
        }
    }
}
