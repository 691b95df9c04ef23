using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Bitmaps;
using Qcow2Blk.Interop;
using Qcow2Blk.Protocol;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>Answers NBD_CMD_BLOCK_STATUS: asks the disk for extents, then encodes them for each context.</summary>
internal sealed class BlockStatusReply(NbdConnection connection)
{
    // A client asks again for what did not fit; qemu's own limit is 131072.
    private const int MaximumExtents = 4096;

    // Some milliseconds of the home loop, where all other requests wait meanwhile: a client asks again for the rest.
    private const int MaximumSeeks = 1024;

    // A millisecond of the home loop, in words without a change: a client asks again for the rest.
    private const long MaximumBits = 1L << 25;

    // What a pooled request keeps of the memory for extents.
    private const int KeptExtents = 64;

    private bool NeedsExtents => connection.Session.Contexts.Any(context => context.Bitmap is null);

    /// <summary>Bytes that any reply fits in.</summary>
    public static int BufferBytes(NegotiatedSession session) =>
        session.Contexts.Count * BlockStatusEncoder.BufferFor(session.ReplyMode, MaximumExtents);

    /// <summary>Collects the extents and writes the reply into the request's buffer. Home loop.</summary>
    public async LoopTask<int> CollectAsync(IDisk disk, NbdRequest request)
    {
        var extents = request.Extents;
        extents.Clear();
        if (NeedsExtents && await CollectExtentsAsync(disk, request, extents) is var error and < 0)
            return error;
        var length = Encode(disk, request, extents);
        extents.Clear();
        if (extents.Capacity > KeptExtents)
            extents.Capacity = KeptExtents;
        request.ReplyLength = Math.Max(length, 0);
        return Math.Min(length, 0);
    }

    private static async LoopTask<int> CollectExtentsAsync(IDisk disk, NbdRequest request, List<DiskExtent> extents)
    {
        var position = 0L;
        var length = (long)request.Header.Length;
        var limit = request.Header.Has(CommandFlags.RequestOne) ? 1 : MaximumExtents;
        var seeks = 0;
        while (position < length && extents.Count < limit && seeks < MaximumSeeks && (extents.Count == 0 || !request.IsPressed))
        {
            var extent = await disk.MapAsync(request.Offset + position, length - position);
            if (extent.Error < 0)
                return extent.Error;
            extents.Add(extent);
            position += extent.Length;
            seeks += extent.Seeks;
        }

        return 0;
    }

    /// <returns>bytes of the reply, or a negative errno</returns>
    private int Encode(IDisk disk, NbdRequest request, List<DiskExtent> extents)
    {
        var session = connection.Session;
        var used = 0;
        for (var i = 0; i < session.Contexts.Count; i++)
        {
            var context = session.Contexts[i];
            var last = i == session.Contexts.Count - 1;
            var encoder = new BlockStatusEncoder(request.Buffer.Span[used..], session.ReplyMode, request.Header, context.Id, done: last);
            if (context.Bitmap is { } name)
            {
                // A bitmap that the image does not have any more: it was edited while it was suspended.
                if (disk.FindBitmap(name) is not { } bits)
                    return -Errno.EIO;
                AddBitmap(ref encoder, bits, request);
            }
            else
            {
                foreach (var extent in extents)
                {
                    if (!encoder.Add((ulong)extent.Length, FlagsOf(extent, context.Kind)))
                        break;
                }
            }

            used += encoder.Finish();
        }

        return used;
    }

    private static void AddBitmap(ref BlockStatusEncoder encoder, DirtyBitmap bits, NbdRequest request)
    {
        var length = Math.Min((long)request.Header.Length, MaximumBits << bits.Shape.GranularityBits);
        for (var position = 0L; position < length;)
        {
            var (isDirty, run) = bits.RunAt(request.Offset + position, length - position);
            if (!encoder.Add((ulong)run, (uint)(isDirty ? BitmapState.Dirty : BitmapState.None)))
                return;
            position += run;
        }
    }

    private static uint FlagsOf(DiskExtent extent, MetaContextKind kind)
    {
        if (kind == MetaContextKind.QemuAllocationDepth)
            return (uint)extent.Depth;
        var flags = extent.IsHole ? AllocationState.Hole : 0;
        return (uint)(extent.IsZero ? flags | AllocationState.Zero : flags);
    }
}
