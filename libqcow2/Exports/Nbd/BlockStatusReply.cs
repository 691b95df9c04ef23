using System;
using System.Collections.Generic;
using Qcow2Blk.Image;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>Answers NBD_CMD_BLOCK_STATUS: asks the disk for extents, then encodes them for each context.</summary>
internal sealed class BlockStatusReply(NbdConnection connection)
{
    // A client asks again for what did not fit; qemu's own limit is 131072.
    private const int MaximumExtents = 4096;

    // Some milliseconds of the home loop, where all other requests wait meanwhile: a client asks again for the rest.
    private const int MaximumSeeks = 1024;

    // What a pooled request keeps of the memory for extents.
    private const int KeptExtents = 64;

    /// <summary>Bytes that any reply fits in.</summary>
    public static int BufferBytes(NegotiatedSession session) =>
        session.Contexts.Count * BlockStatusEncoder.BufferFor(session.ReplyMode, MaximumExtents);

    /// <summary>Collects the extents and writes the reply into the request's buffer. Home loop.</summary>
    public async LoopTask<int> CollectAsync(IDisk disk, NbdRequest request)
    {
        var extents = request.Extents;
        extents.Clear();
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

        request.ReplyLength = Encode(request, extents);
        extents.Clear();
        if (extents.Capacity > KeptExtents)
            extents.Capacity = KeptExtents;
        return 0;
    }

    private int Encode(NbdRequest request, List<DiskExtent> extents)
    {
        var session = connection.Session;
        var used = 0;
        for (var i = 0; i < session.Contexts.Count; i++)
        {
            var context = session.Contexts[i];
            var last = i == session.Contexts.Count - 1;
            var encoder = new BlockStatusEncoder(request.Buffer.Span[used..], session.ReplyMode, request.Header, context.Id, done: last);
            foreach (var extent in extents)
            {
                if (!encoder.Add((ulong)extent.Length, FlagsOf(extent, context.Kind)))
                    break;
            }

            used += encoder.Finish();
        }

        return used;
    }

    private static uint FlagsOf(DiskExtent extent, MetaContextKind kind)
    {
        if (kind == MetaContextKind.QemuAllocationDepth)
            return (uint)extent.Depth;
        var flags = extent.IsHole ? AllocationState.Hole : 0;
        return (uint)(extent.IsZero ? flags | AllocationState.Zero : flags);
    }
}
