using System;
using System.Collections.Generic;
using Qcow2Blk.Buffers;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared;

namespace Qcow2Blk.Tests.Image.Model;

/// <summary>A disk that is an array, beside the engine's: every answer of the engine is held against it.</summary>
internal sealed class DiskModel(ModelImage subject, Qcow2Image image)
{
    private const int Together = 5;

    public byte[] Content { get; } = (byte[])subject.Content.Clone();

    /// <summary>Requests that ended with an errno.</summary>
    public int Failures { get; private set; }

    /// <summary>Called when a batch has ended with failures, before the disk is looked at.</summary>
    public Action? Healed { get; init; }

    /// <summary>Runs the requests, several at a time where their ranges do not touch.</summary>
    public async LoopTask<int> RunAsync(Operation[] operations)
    {
        var next = 0;
        while (next < operations.Length)
        {
            var batch = new List<Operation>();
            while (next < operations.Length && batch.Count < Together && IsApart(batch, operations[next]))
                batch.Add(operations[next++]);
            await RunBatchAsync(batch);
        }

        return 0;
    }

    /// <summary>The whole disk as the engine reads it is the model's.</summary>
    public async LoopTask<int> CompareAsync(Qcow2Image reader)
    {
        using var buffer = new TableBuffer(Content.Length);
        Require(await reader.ReadAsync(0, buffer.Take(Content.Length)), "read of the whole disk");
        var at = buffer.Span[..Content.Length].CommonPrefixLength(Content);
        if (at != Content.Length)
            throw new InvalidOperationException($"byte {at} reads {buffer.Span[at]:x2}, not {Content[at]:x2}");
        return 0;
    }

    private bool IsApart(List<Operation> batch, Operation operation)
    {
        var (offset, length) = operation.On(Content.Length);
        foreach (var other in batch)
        {
            var (otherOffset, otherLength) = other.On(Content.Length);
            if (offset < otherOffset + otherLength && otherOffset < offset + length)
                return false;
        }

        return true;
    }

    private async LoopTask<int> RunBatchAsync(List<Operation> batch)
    {
        var group = TaskGroup.Rent();
        var failed = new List<Operation>();
        foreach (var operation in batch)
            group.Add(RunOneAsync(operation, failed));
        await group.WaitAsync();
        if (failed.Count == 0)
            return 0;
        Failures += failed.Count;
        Healed?.Invoke();
        foreach (var operation in failed)
            await LearnAsync(operation);
        return 0;
    }

    private async LoopTask<int> RunOneAsync(Operation operation, List<Operation> failed)
    {
        var (offset, length) = operation.On(Content.Length);
        using var buffer = new TableBuffer(length);
        var data = buffer.Take(length);
        if (operation.Kind == OperationKind.Write)
            data.Span.Fill(operation.Value);
        var result = operation.Kind switch
        {
            OperationKind.Write when operation.Direct => await LoopTransfer.WriteAsync(image, offset, data),
            OperationKind.Read when operation.Direct => await LoopTransfer.ReadAsync(image, offset, data),
            OperationKind.Write => await image.WriteAsync(offset, data, operation.Force),
            OperationKind.Read => await image.ReadAsync(offset, data),
            OperationKind.Zero => await image.WriteZeroesAsync(offset, length, operation.Flags),
            OperationKind.Discard => await image.DiscardAsync(offset, length),
            OperationKind.Map => await MapAsync(offset, length),
            _ => await image.FlushAsync(),
        };
        if (result < 0)
        {
            if (Healed is null)
                Require(result, $"{operation}");
            failed.Add(operation);
        }
        else if (operation.Kind == OperationKind.Read && !data.Span.SequenceEqual(Content.AsSpan((int)offset, length)))
        {
            var at = data.Span.CommonPrefixLength(Content.AsSpan((int)offset, length));
            throw new InvalidOperationException($"{operation}: byte {offset + at} reads {data.Span[at]:x2}, not {Content[offset + at]:x2}");
        }
        else if (operation.Kind == OperationKind.Discard && subject.MayKeepDiscarded)
        {
            // Once the batch has ended: what is there then is one or the other.
            failed.Add(operation);
        }
        else
        {
            Apply(operation);
        }

        return 0;
    }

    /// <summary>What is said to read as zeroes does, and all of the range is told of.</summary>
    private async LoopTask<int> MapAsync(long offset, int length)
    {
        var end = offset + length;
        while (offset < end)
        {
            var extent = await image.MapAsync(offset, end - offset);
            if (extent.Error < 0)
                return extent.Error;
            if (extent.Length <= 0 || extent.Length > end - offset)
                throw new InvalidOperationException($"an extent of {extent.Length} bytes for {end - offset}");
            if (extent.IsZero && Content.AsSpan((int)offset, (int)extent.Length).ContainsAnyExcept((byte)0))
                throw new InvalidOperationException($"{extent.Length} bytes at {offset} are said to be zeroes");
            offset += extent.Length;
        }

        return 0;
    }

    private void Apply(Operation operation)
    {
        var (start, end) = Changed(operation);
        if (operation.Kind is not (OperationKind.Read or OperationKind.Flush or OperationKind.Map) && end > start)
            Content.AsSpan((int)start, (int)(end - start)).Fill(operation.Kind == OperationKind.Write ? operation.Value : (byte)0);
    }

    private (long Start, long End) Changed(Operation operation)
    {
        var (offset, length) = operation.On(Content.Length);
        var end = offset + length;
        if (operation.Kind != OperationKind.Discard)
            return (offset, end);
        if (!subject.Discards)
            return (0, 0);

        // Whole clusters or subclusters only; the last one of the disk is whole when the range reaches the end.
        var mask = subject.DiscardUnit - 1L;
        return ((offset + mask) & ~mask, end == Content.Length ? end : end & ~mask);
    }

    /// <summary>A request that failed may be done in part: every byte must be the old one or the new one.</summary>
    private async LoopTask<int> LearnAsync(Operation operation)
    {
        var (offset, length) = operation.On(Content.Length);
        if (operation.Kind is OperationKind.Read or OperationKind.Flush or OperationKind.Map)
            return 0;
        using var buffer = new TableBuffer(length);
        Require(await image.ReadAsync(offset, buffer.Take(length)), "read after a failure");
        var wanted = operation.Kind == OperationKind.Write ? operation.Value : (byte)0;
        for (var index = 0; index < length; index++)
        {
            var found = buffer.Span[index];
            if (found != wanted && found != Content[offset + index])
            {
                throw new InvalidOperationException(
                    $"after {operation} failed, byte {offset + index} reads {found:x2}: neither {Content[offset + index]:x2} as before"
                        + $" nor {wanted:x2}");
            }

            Content[offset + index] = found;
        }

        return 0;
    }

    private static void Require(int result, string what)
    {
        if (result < 0)
            throw new InvalidOperationException($"{what}: errno {-result}");
    }
}
