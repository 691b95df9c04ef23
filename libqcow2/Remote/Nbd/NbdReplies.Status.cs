using System;
using System.Buffers.Binary;
using Qcow2Blk.Buffers;
using Qcow2Blk.Protocol;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Remote.Nbd;

/// <summary>Block status: asked for like reads, and answered by a list.</summary>
internal sealed partial class NbdReplies
{
    private NativeBuffer _status;

    /// <summary>Notes a question for the block status and writes its request.</summary>
    public LoopTask<FetchResult> Begin(StatusQuestion question, Span<byte> request)
    {
        Invariant.Holds(!IsFull && export.AllocationContext is not null && question.Length > 0 && question.Offset >= 0
            && question.Offset <= export.Size - question.Length, "a question lies in the export", question.Offset, question.Length);
        var (read, cookie) = Take();
        RequestHeaderOf(request, NbdCommand.BlockStatus, cookie, question.Offset, question.Length);
        return read.Begin(cookie, question.Offset, default, question);
    }

    /// <summary>Whether a simple reply may be an error to such a question: only reads need structured ones.</summary>
    private bool MayBeStatus(ReadOnlySpan<byte> input) =>
        input.Length < SimpleBytes || Find(BinaryPrimitives.ReadUInt64BigEndian(input[8..])) is { Question: not null };

    private string? TakeStatus(NbdRead read, uint length, bool isLast, out int taken)
    {
        taken = ChunkBytes;
        const int head = sizeof(uint);
        if (length < head + StatusQuestion.ExtentBytes || (length - head) % StatusQuestion.ExtentBytes != 0)
            return $"its reply has a block status with {length} bytes";
        if (length > head + (StatusQuestion.ExtentBytes * (uint)StatusQuestion.MostExtents))
            return $"its reply has the block status of {(length - head) / StatusQuestion.ExtentBytes} extents";
        (_current, _isLast) = (read, isLast);
        _status = loop.Buffers.Rent((int)length);
        Payload = _status;
        return null;
    }

    /// <summary>If all of an answer is there, uses it.</summary>
    private string? AnswerStatus(NbdRead read)
    {
        if (_status.IsEmpty)
            return null;
        var wrong = read.Question!.Take(_status.Span);
        DropStatus();
        return wrong;
    }

    private void DropStatus()
    {
        if (!_status.IsEmpty)
            loop.Buffers.Return(_status);
        _status = default;
    }

    private static string NameOf(NbdRead read) => read.Question is null ? "read" : "question for the block status";
}
