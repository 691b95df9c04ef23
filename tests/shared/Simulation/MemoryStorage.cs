using System;
using System.Collections.Generic;
using Qcow2Blk.Buffers;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Tests.Shared.Simulation;

/// <summary>
/// A file in memory under a <see cref="SimulatedLoop"/>: operations end in any order, take effect somewhere between
/// their begin and their end, and fail when <see cref="Fault"/> says so. What the crash and model tests run on.
/// </summary>
internal sealed class MemoryStorage : IBlockStorage
{
    private const int EINVAL = 22;
    private const int ENOSPC = 28;
    private const int EROFS = 30;

    private readonly SimulatedLoop _loop;
    private readonly List<Action> _held = [];
    private bool _disposed;

    public MemoryStorage(SimulatedLoop loop, SparseBytes content, int alignment = 1, bool readOnly = false)
    {
        ArgumentNullException.ThrowIfNull(content);
        _loop = loop;
        Content = content;
        AllocatedBytes = content.Allocated;
        OffsetAlignment = alignment;
        ReadOnly = readOnly;
    }

    public string Path { get; init; } = "memory.qcow2";

    public long Length => Content.Length;

    public bool ReadOnly { get; }

    public int OffsetAlignment { get; }

    public int MemoryAlignment => OffsetAlignment;

    /// <summary>The bytes as a reader sees them now.</summary>
    public SparseBytes Content { get; }

    /// <summary>Keeps what is done from now on; null: nothing is kept.</summary>
    public StorageLog? Log { get; set; }

    /// <summary>Asked before each operation: 0, or the errno (positive) that the operation fails with.</summary>
    public Func<StorageOperation, int>? Fault { get; set; }

    /// <summary>Asked before each operation: null, or the rule that whoever starts it is told to have broken.</summary>
    internal Func<StorageOperation, string?>? Breach { get; set; }

    /// <summary>Operations that this says yes to take effect and end only after <see cref="Release"/>.</summary>
    public Predicate<StorageOperation>? Hold { get; set; }

    /// <summary>The file cannot grow past this many bytes: writes and set-lengths end with ENOSPC.</summary>
    public long SpaceLimit { get; set; } = long.MaxValue;

    /// <summary>When the file was last written, for those who ask: milliseconds since 1970, or null.</summary>
    public long? Modified { get; set; }

    long? IBlockStorage.Modified() => Modified;

    /// <summary>Operations that have begun and not ended.</summary>
    public int InFlight { get; private set; }

    /// <summary>Operations that were started so far, of all kinds.</summary>
    public long Started { get; private set; }

    public long AllocatedBytes { get; }

    /// <summary>Answers to <see cref="FindRange"/> that a file system would have been asked for.</summary>
    public long Seeks { get; private set; }

    public FileRange FindRange(long offset)
    {
        Require(!_disposed && offset >= 0, $"question for a range at {offset}");
        var range = Content.FindRange(offset);
        Seeks += range.Seeks;
        return range;
    }

    public LoopTask<int> ReadAsync(long offset, NativeBuffer buffer)
    {
        TransferRules.RequireRead(offset, buffer);
        var operation = new StorageOperation(StorageOperationKind.Read, offset, buffer.Length, null);
        return Start(operation, buffer);
    }

    public LoopTask<int> WriteAsync(long offset, NativeBuffer buffer)
    {
        TransferRules.RequireWrite(this, offset, buffer);
        Require(buffer.Address % MemoryAlignment == 0, $"write from memory at 0x{buffer.Address:x} is not aligned to {MemoryAlignment}");
        return Start(new StorageOperation(StorageOperationKind.Write, offset, buffer.Length, null), buffer);
    }

    public LoopTask<int> FlushAsync() => Start(new StorageOperation(StorageOperationKind.Flush, 0, 0, null), default);

    /// <summary>A flush of a part of the file, as if that were a file of its own.</summary>
    internal LoopTask<int> FlushRangeAsync(long offset, long length) =>
        Start(new StorageOperation(StorageOperationKind.Flush, offset, length, null), default);

    public LoopTask<int> PunchAsync(long offset, long length) => StartRange(StorageOperationKind.Punch, offset, length);

    public LoopTask<int> ZeroAsync(long offset, long length) => StartRange(StorageOperationKind.Zero, offset, length);

    public LoopTask<int> SetLengthAsync(long length)
    {
        TransferRules.RequireLength(this, length);
        return Start(new StorageOperation(StorageOperationKind.SetLength, 0, length, null), default);
    }

    /// <summary>Lets go what was held; nothing is held from now on.</summary>
    public void Release()
    {
        Hold = null;
        foreach (var end in _held)
            _loop.Complete(end);
        _held.Clear();
    }

    public void Dispose()
    {
        Require(InFlight == 0, $"disposed with {InFlight} operations in flight");
        _disposed = true;
    }

    private LoopTask<int> StartRange(StorageOperationKind kind, long offset, long length)
    {
        TransferRules.RequireRange(this, offset, length);
        return Start(new StorageOperation(kind, offset, length, null), default);
    }

    private LoopTask<int> Start(StorageOperation operation, NativeBuffer buffer)
    {
        Require(!_disposed, $"{operation.Kind} on a storage that is closed");
        if (Breach?.Invoke(operation) is { } rule)
            throw new InvariantBreach(rule);
        InFlight++;
        operation.LengthBefore = Content.Length;
        Started++;
        if (operation.Kind != StorageOperationKind.Read)
            Log?.Submit(operation);
        var error = Refusal(operation);

        // The kernel may touch the memory at any time while the operation runs: first or last moment, by chance.
        var held = Hold?.Invoke(operation) ?? false;
        var early = error == 0 && !held && _loop.Random.Next(2) == 0;
        if (early)
            Apply(operation, buffer, operation.Length);
        else if (operation.Kind == StorageOperationKind.Write && Log is not null)
            operation.Data = buffer.Span.ToArray();

        var source = ManualSource<int>.Rent();
        var task = source.Task;
        if (held)
            _held.Add(() => End(operation, buffer, early, error, source));
        else
            _loop.Complete(() => End(operation, buffer, early, error, source));
        return task;
    }

    private void End(StorageOperation operation, NativeBuffer buffer, bool early, int error, ManualSource<int> source)
    {
        if (!early && error == 0)
            Apply(operation, buffer, operation.Length);
        else if (error != 0 && operation.Kind == StorageOperationKind.Write)
            ApplyFailed(operation, buffer);
        if (operation.Kind != StorageOperationKind.Read)
            Log?.Complete(operation, -error);
        InFlight--;
        source.SetResult(-error);
    }

    private int Refusal(StorageOperation operation)
    {
        if (operation.Kind is StorageOperationKind.Read)
            return Fault?.Invoke(operation) ?? 0;
        if (ReadOnly && operation.Kind != StorageOperationKind.Flush)
            return EROFS;
        if (operation.Kind == StorageOperationKind.Punch && operation.Length == 0)
            return EINVAL;
        var end = operation.Offset + operation.Length;
        var grows = operation.Kind is StorageOperationKind.Write or StorageOperationKind.Zero or StorageOperationKind.SetLength;
        if (grows && end > SpaceLimit && end > Content.Length)
            return ENOSPC;
        return Fault?.Invoke(operation) ?? 0;
    }

    /// <summary>A write that failed may have reached the file in part.</summary>
    private void ApplyFailed(StorageOperation operation, NativeBuffer buffer)
    {
        var room = Math.Max(0, Math.Min(operation.Length, Math.Max(Content.Length, SpaceLimit) - operation.Offset));
        var done = _loop.Random.NextInt64(room + 1) / OffsetAlignment * OffsetAlignment;
        Apply(operation, buffer, done);
    }

    private void Apply(StorageOperation operation, NativeBuffer buffer, long length)
    {
        switch (operation.Kind)
        {
            case StorageOperationKind.Read:
                Content.Read(operation.Offset, buffer.Span);
                return;
            case StorageOperationKind.Write:
                if (length > 0)
                    Content.Write(operation.Offset, buffer.Span[..(int)length]);
                if (Log is not null)
                    operation.Data = buffer.Span.ToArray();
                break;
            case StorageOperationKind.Punch:
                Content.Clear(operation.Offset, length);
                break;
            case StorageOperationKind.Zero:
                Content.Clear(operation.Offset, length);
                if (operation.Offset + length > Content.Length)
                    Content.SetLength(operation.Offset + length);
                break;
            case StorageOperationKind.SetLength:
                operation.LengthBefore = Content.Length;
                Content.SetLength(operation.Length);
                break;
        }

        Log?.TakeEffect(operation);
    }

    private static void Require(bool condition, string what)
    {
        if (!condition)
            throw new InvalidOperationException(what);
    }
}
