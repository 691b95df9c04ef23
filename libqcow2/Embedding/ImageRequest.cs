using System;
using System.Threading;
using Qcow2Blk.Buffers;
using Qcow2Blk.Exports;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Embedding;

/// <summary>
/// One request that the loop of an image carries out, for a thread that waits or for one that is told. Pooled per image.
/// </summary>
/// <remarks>Invariant: from <see cref="OpenImage.Rent"/> to the end it belongs to one caller; everything but its preparation runs on
/// the loop.</remarks>
internal sealed unsafe partial class ImageRequest : IDirectTransferOwner, ICompletionSink<int>, IGatedRequest, IBudgetedWork
{
    /// <summary>A transfer is done in pieces of at most this.</summary>
    public const int LargestPiece = 16 << 20;

    // What lies in several places is copied together up to this; what is larger has pieces that are worth a transfer each.
    private const int LargestGathered = 1 << 20;

    private readonly OpenImage _image;
    private readonly LongRequest _long;
    private DirectTransfer? _transfer;
    private MemoryPiece[] _pieces = [];
    private int _pieceCount;
    private RequestShape _shape;
    private Notification _target;
    private WaitingThread? _waiter;
    private long _count;

    public ImageRequest(OpenImage image)
    {
        _image = image;
        _long = new LongRequest(image.Served, image.Gate);
        BeginOnLoop = Begin;
    }

    /// <summary>The next one in the pool.</summary>
    public ImageRequest? Next { get; set; }

    /// <summary>To be run on the loop when all is prepared.</summary>
    public Action BeginOnLoop { get; }

    /// <summary>What the work at home may need besides the caller's memory.</summary>
    public long WorkBytes => _shape.Kind is RequestKind.Read or RequestKind.Write
        ? _image.Served.WorkBytesOf(Math.Clamp(_shape.Length, 1, LargestPiece)) : 0;

    /// <summary>For a thread that waits.</summary>
    public void Prepare(in RequestShape shape, ReadOnlySpan<MemoryPiece> pieces, WaitingThread waiter)
    {
        Prepare(shape, pieces);
        _waiter = waiter;
    }

    /// <summary>For one that is told.</summary>
    public void Prepare(in RequestShape shape, ReadOnlySpan<MemoryPiece> pieces, in Notification target)
    {
        Prepare(shape, pieces);
        _target = target;
    }

    /// <summary>Images in the hands of a program have no limits: it asks for what it wants.</summary>
    IoKind IGatedRequest.LimitedAs => IoKind.Other;

    long IGatedRequest.LimitedBytes => 0;

    void IGatedRequest.NoteWait(RequestWaits reason)
    {
        // Nobody traces it.
    }

    void IGatedRequest.Restart() => BeginAtHome();

    void IGatedRequest.Refuse(int error)
    {
        _image.Gate.Ended();
        End(error);
    }

    /// <summary>Short or failed: the careful way finds out what it is.</summary>
    void IDirectTransferOwner.DirectTransferEnded(int result)
    {
        if (result == _shape.Length)
            Completed(0);
        else
            BeginAtHome();
    }

    void ICompletionSink<int>.Completed(int result)
    {
        _image.Served.Budget!.End(WorkBytes);
        Completed(result);
    }

    void IBudgetedWork.BeginWork() => ExecuteAsync(_image.Served.Disk).CompleteInto(this);

    private void Prepare(in RequestShape shape, ReadOnlySpan<MemoryPiece> pieces)
    {
        _shape = shape;
        _pieceCount = pieces.Length;
        if (pieces.Length > _pieces.Length)
            _pieces = new MemoryPiece[pieces.Length];
        pieces.CopyTo(_pieces);
        _count = 0;
        _long.Reset();
    }

    private void Begin()
    {
        if (_image.IsClosing)
        {
            End(-Errno.ECANCELED);
            return;
        }

        if (_image.Gate.Held)
        {
            _image.Gate.Wait(this);
            return;
        }

        _image.Gate.Began();
        if (_shape.Length == 0 && _shape.Kind != RequestKind.Flush)
            Completed(0);
        else if (!TryStartDirect())
            BeginAtHome();
    }

    private void BeginAtHome() => _image.Served.Budget!.Begin(this);

    /// <summary>Tries the short way: one submission on the ring, or none where the answer is known to be zeroes.</summary>
    private bool TryStartDirect()
    {
        if (!_shape.IsPlainTransfer || _pieceCount > 0)
            return false;
        var isWrite = _shape.Kind == RequestKind.Write;

        _transfer ??= new DirectTransfer(_image.Loop, this);
        switch (_transfer.Map(_image.Served.Disk, isWrite, _shape.Offset, (int)_shape.Length, orZeroes: !isWrite))
        {
            case DirectMapping.Zeroes:
                new NativeBuffer(_shape.Address, (int)_shape.Length).Clear();
                Completed(0);
                return true;
            case DirectMapping.File when (_shape.Address & (_transfer.MemoryAlignment - 1)) == 0:
                _transfer.Start(_shape.Address);
                return true;
            case DirectMapping.File:
                _transfer.Leave();
                return false;
            default:
                return false;
        }
    }

    private void Completed(int result)
    {
        if (result == LongRequest.Interrupted)
        {
            _image.Gate.Interrupted(this);
            return;
        }

        if (result == -Errno.ENOSPC && _image.Served.ParkOnNoSpace && !_image.IsClosing && _image.Gate.Refusal == 0)
        {
            _image.Gate.Park(this);
            return;
        }

        _image.Gate.Ended();
        End(result < 0 ? result : _shape.Kind switch
        {
            RequestKind.Read or RequestKind.Write => _shape.Length,
            RequestKind.BlockStatus => _count,
            _ => 0,
        });
    }

    private void End(long result)
    {
        var (target, waiter) = (_target, _waiter);
        (_target, _waiter) = (default, null);
        _image.Return(this);
        if (waiter is not null)
        {
            _image.EndUse();
            waiter.Set(result);
            return;
        }

        target.Deliver(result);
        _image.NoteEnd();
        _image.EndUse();
    }
}
