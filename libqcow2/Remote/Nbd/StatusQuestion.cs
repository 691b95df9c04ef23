using System;
using System.Buffers.Binary;
using Qcow2Blk.Protocol;

namespace Qcow2Blk.Remote.Nbd;

/// <summary>Which parts of a range are zeroes, as a server is asked with NBD_CMD_BLOCK_STATUS; the answer goes into a map.</summary>
/// <param name="map">of the export</param>
/// <param name="context">what "base:allocation" is called on the connection</param>
/// <param name="offset">of the range, whole units of the map</param>
/// <param name="length">of the range, which lies in the export</param>
internal sealed class StatusQuestion(ZeroMap map, uint context, long offset, int length)
{
    /// <summary>What the specification allows a server to send.</summary>
    public const int MostExtents = 1 << 20;

    public const int ExtentBytes = 8;

    public long Offset => offset;

    public int Length => length;

    /// <summary>Whether an answer has come that was right.</summary>
    public bool IsAnswered { get; private set; }

    /// <summary>Takes the only chunk of the answer: the context, then lengths and flags, from the offset on.</summary>
    /// <returns>null, or what is wrong with it: then nothing of it is used</returns>
    public string? Take(ReadOnlySpan<byte> answer)
    {
        if (IsAnswered)
            return $"its reply has the block status of {offset} twice";
        var found = BinaryPrimitives.ReadUInt32BigEndian(answer);
        if (found != context)
            return $"its reply has the block status of context {found}, and {context} was agreed on";
        var extents = answer[sizeof(uint)..];
        if (Check(extents) is { } wrong)
            return wrong;
        IsAnswered = true;
        var at = offset;
        for (var next = 0; next < extents.Length; next += ExtentBytes)
        {
            // The last one may go on behind what was asked for.
            var bytes = Math.Min(BinaryPrimitives.ReadUInt32BigEndian(extents[next..]), offset + length - at);
            var flags = (AllocationState)BinaryPrimitives.ReadUInt32BigEndian(extents[(next + sizeof(uint))..]);

            // A hole that is not said to be zeroes may hold anything.
            map.Note(at, bytes, isZero: (flags & AllocationState.Zero) != 0, isFirst: next == 0);
            at += bytes;
        }

        map.EndNotes(offset, at);
        return null;
    }

    private string? Check(ReadOnlySpan<byte> extents)
    {
        var end = 0L;
        for (var next = 0; next < extents.Length; next += ExtentBytes)
        {
            var bytes = BinaryPrimitives.ReadUInt32BigEndian(extents[next..]);
            if (bytes == 0)
                return $"its reply has a block status of no bytes at {offset + end}";
            if (end >= length)
                return $"its reply has the block status of {offset + end}, and was asked for {length} bytes at {offset}";
            end += bytes;
        }

        return end > map.Length - offset ? $"its reply has the block status of {end} bytes at {offset}, past the export's end" : null;
    }
}
