using System;
using System.Collections.Generic;

namespace Qcow2Blk.Tests.Shared.Simulation;

/// <summary>What an operation on a storage does.</summary>
public enum StorageOperationKind
{
    Read,
    Write,
    Flush,
    Punch,
    Zero,
    SetLength,
}

/// <summary>One operation on a storage, with the ticks of its life (<see cref="StorageLog.Tick"/>).</summary>
internal sealed class StorageOperation(StorageOperationKind kind, long offset, long length, byte[]? data)
{
    public StorageOperationKind Kind { get; } = kind;

    /// <summary>Byte position in the file; 0 for a flush and a set-length.</summary>
    public long Offset { get; } = offset;

    /// <summary>Bytes; the new length of the file for a set-length.</summary>
    public long Length { get; } = length;

    /// <summary>What a write carries: a copy of its own.</summary>
    public byte[]? Data { get; internal set; } = data;

    /// <summary>Bytes in the file before a set-length took effect.</summary>
    public long LengthBefore { get; internal set; }

    public long Submitted { get; internal set; }

    /// <summary>When readers began to see it: between submission and completion. <see cref="long.MaxValue"/> before that.</summary>
    public long Effective { get; internal set; } = long.MaxValue;

    /// <summary><see cref="long.MaxValue"/> while it runs.</summary>
    public long Completed { get; internal set; } = long.MaxValue;

    /// <summary>0, or the negative errno that the caller got.</summary>
    public int Result { get; internal set; }
}

/// <summary>
/// Everything that was done to a storage, in order: what crash images are built from (<see cref="CrashImage"/>).
/// </summary>
internal sealed class StorageLog
{
    private readonly List<StorageOperation> _operations = [];

    /// <summary>Counts submissions, effects and completions; a point in time of the run.</summary>
    public long Tick { get; private set; }

    /// <summary>Operations in the order of their submission; reads are not kept.</summary>
    public IReadOnlyList<StorageOperation> Operations => _operations;

    /// <summary>The next point in time, for those who put marks of their own between the events.</summary>
    public long Advance() => ++Tick;

    internal void Submit(StorageOperation operation)
    {
        operation.Submitted = Advance();
        _operations.Add(operation);
    }

    internal void TakeEffect(StorageOperation operation) => operation.Effective = Advance();

    internal void Complete(StorageOperation operation, int result)
    {
        operation.Result = result;
        operation.Completed = Advance();
    }
}
