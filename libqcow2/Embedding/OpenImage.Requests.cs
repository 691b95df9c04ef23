using System;
using System.Threading;
using Qcow2Blk.Image;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Embedding;

/// <summary>Requests of threads of the program: done on the spot, waited for, or told of.</summary>
internal sealed partial class OpenImage
{
    // A copy that takes longer is left to the loop: the caller has other things to do.
    private const int LargestAtOnce = 64 * 1024;

    private const int SmallestPieceOfItsOwn = 16 * 1024;

    private readonly Lock _pool = new();
    private ImageRequest? _free;

    /// <summary>Nothing may be mapped any more.</summary>
    internal bool IsClosing => _closing;

    /// <summary>
    /// Whether a thread that has entered an epoch of this disk may use it: not while requests are held, and not if it was replaced
    /// before that. Whoever holds, replaces or closes says so first and waits for the epoch then.
    /// </summary>
    internal bool MayTransfer(IDisk disk, long offset, long length) =>
        !_closing && !Gate.Held && ReferenceEquals(disk, Served.Disk) && offset <= disk.Size - length;

    /// <summary>Carries a request out and waits for its end.</summary>
    /// <param name="shape">what; its range is checked here</param>
    /// <param name="pieces">the buffers, if there are several: their lengths add up to that of the shape</param>
    /// <returns>bytes that were moved, extents that were found, 0, or a negative errno</returns>
    public long Execute(in RequestShape shape, ReadOnlySpan<MemoryPiece> pieces = default)
    {
        if (Check(shape, waits: true) is var refusal and < 0)
            return refusal;
        if (shape.Length == 0 && shape.Kind is not RequestKind.Flush)
            return 0;
        if (TryOnThread(shape, pieces))
            return shape.Length;
        if (!TryUse())
            return -Errno.ESHUTDOWN;
        var request = Rent();
        var waiter = WaitingThread.Current;
        request.Prepare(shape, pieces, waiter);
        if (!IsDriven)
        {
            _loop.PostFromAnyThread(request.BeginOnLoop);
            return waiter.Wait();
        }

        _loop.Run(request.BeginOnLoop);
        _loop.RunUntil(waiter.HasEnded);
        return waiter.Wait();
    }

    /// <summary>Begins a request, of whose end <paramref name="target"/> is told.</summary>
    /// <returns>0; or a negative errno, and nobody is told of anything</returns>
    public int Submit(in RequestShape shape, ReadOnlySpan<MemoryPiece> pieces, in Notification target)
    {
        if (Check(shape, waits: false) is var refusal and < 0)
            return refusal;
        if (target.Queue?.Reserve() is var full and < 0)
            return full.Value;
        if (Count() is var refused and < 0)
        {
            target.Queue?.Unreserve();
            return refused;
        }

        if (TryAtOnce(shape, pieces, target))
            return 0;
        var request = Rent();
        request.Prepare(shape, pieces, target);
        if (IsDriven)
            _loop.Post(request.BeginOnLoop);
        else
            _loop.PostFromAnyThread(request.BeginOnLoop);
        return 0;
    }

    internal ImageRequest Rent()
    {
        lock (_pool)
        {
            if (_free is not { } request)
                return new ImageRequest(this);
            _free = request.Next;
            request.Next = null;
            return request;
        }
    }

    internal void Return(ImageRequest request)
    {
        lock (_pool)
        {
            request.Next = _free;
            _free = request;
        }
    }

    /// <summary>
    /// A file in memory is copied to and from without ever waiting: the calling thread does that itself, where its program fetches
    /// the result and is not called.
    /// </summary>
    private bool TryAtOnce(in RequestShape shape, ReadOnlySpan<MemoryPiece> pieces, in Notification target)
    {
        if (target.Queue is null || !_disk.File.IsMemory || !pieces.IsEmpty || shape.Length > LargestAtOnce
            || !TryOnThread(shape, pieces))
        {
            return false;
        }

        target.Deliver(shape.Length);
        NoteEnd();
        EndUse();
        return true;
    }

    /// <summary>Counts an asynchronous request in.</summary>
    private int Count()
    {
        if (Interlocked.Increment(ref _inFlight) > MaximumInFlight)
        {
            Interlocked.Decrement(ref _inFlight);
            return -Errno.EAGAIN;
        }

        if (TryUse())
            return 0;
        Interlocked.Decrement(ref _inFlight);
        return -Errno.ESHUTDOWN;
    }

    private int Check(in RequestShape shape, bool waits)
    {
        if (CheckThread(waits) is var refusal and < 0)
            return refusal;
        if (_closing)
            return -Errno.ESHUTDOWN;
        if (shape.Offset < 0 || shape.Length < 0 || shape.Offset > Size - shape.Length)
            return -Errno.EINVAL;
        return ReadOnly && shape.Kind is (RequestKind.Write or RequestKind.Discard or RequestKind.WriteZeroes) ? -Errno.EROFS : 0;
    }

    /// <summary>What is mapped the calling thread does itself.</summary>
    private bool TryOnThread(in RequestShape shape, ReadOnlySpan<MemoryPiece> pieces)
    {
        if (!shape.IsPlainTransfer)
            return false;
        var isWrite = shape.Kind == RequestKind.Write;
        if (pieces.IsEmpty)
            return TryOnThread(isWrite, shape.Address, (int)shape.Length, shape.Offset);

        // A system call for each is worth its while for large pieces; small ones the loop puts together.
        if (pieces.Length > 1 && shape.Length / pieces.Length < SmallestPieceOfItsOwn)
            return false;
        var offset = shape.Offset;
        foreach (var (address, length) in pieces)
        {
            if (length > 0 && !TryOnThread(isWrite, address, (int)length, offset))
                return false;
            offset += (long)length;
        }

        return true;
    }

    private bool TryOnThread(bool isWrite, nint address, int length, long offset) =>
        isWrite ? ThreadTransfer.TryWrite(this, address, length, offset) : ThreadTransfer.TryRead(this, address, length, offset);
}
