using System;
using System.Diagnostics;
using Qcow2Blk.Buffers;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Exports.Ublk;

/// <summary>
/// One tag of a queue, and the request that it carries at the moment: from the fetch that brings it to the commit that
/// ends it and fetches the next. This part is its life; moving its bytes and executing it have files of their own.
/// </summary>
/// <remarks>
/// Every request is committed, whatever happens to it: one that is not would block the removal of the device, and with it
/// every ublk device of the host. READ and WRITE are answered with all their bytes or with an error, never with less.
/// </remarks>
internal sealed unsafe partial class UblkTag : IRingOperation, IDirectTransferOwner, ICompletionSink<int>, IGatedRequest, IBudgetedWork
{
    private readonly UblkQueue _queue;
    private readonly ushort _tag;
    private readonly ulong _userData;
    private readonly Action _executeAtHome;
    private readonly Action _completeOnLoop;
    private readonly NativeBuffer _mapped;
    private readonly DirectTransfer _transfer;
    private readonly Copy _copy;
    private readonly LongRequest _long;
    private UblkRequest _request;
    private long _started;
    private RequestWay _way;
    private RequestWaits _waits;
    private int _result;

    /// <param name="queue">the queue; the calling thread is its loop's</param>
    /// <param name="tag">the number of the tag</param>
    /// <param name="mapped">where the driver copies to and from; empty unless the mode is <see cref="UblkMode.Map"/></param>
    public UblkTag(UblkQueue queue, ushort tag, NativeBuffer mapped)
    {
        _queue = queue;
        _tag = tag;
        _mapped = mapped;
        _userData = (ulong)queue.Loop.Register(this);
        _transfer = new DirectTransfer(queue.Loop, this);
        _copy = new Copy(this);
        _long = new LongRequest(queue.Served, queue.Gate);
        _executeAtHome = ExecuteAtHome;
        _completeOnLoop = () => Ended(_result);
    }

    /// <summary>Offers the tag to the kernel for the first time.</summary>
    public void Fetch() => Command(Interop.Ublk.UBLK_U_IO_FETCH_REQ, 0);

    /// <summary>The kernel has put a request into the tag, or takes it back.</summary>
    void IRingOperation.Completed(int result, uint flags)
    {
        if (result != Interop.Ublk.UBLK_IO_RES_OK)
        {
            // The device ends, or the command was refused: either way the tag is the kernel's from now on.
            _queue.Aborted();
            return;
        }

        ref readonly var descriptor = ref _queue.DescriptorOf(_tag);
        _request = new UblkRequest(descriptor.op_flags, descriptor.nr_sectors, descriptor.start_sector);
        _started = _queue.Loop.TurnTime;
        _waits = RequestWaits.None;
        _long.Reset();
        if (_queue.Gate.Held)
        {
            _queue.Gate.Wait(this);
            return;
        }

        if (!_queue.Gate.PassesLimits(this))
            return;
        _queue.Gate.Began();
        Begin();
    }

    IoKind IGatedRequest.LimitedAs => _request.LimitedAs;

    long IGatedRequest.LimitedBytes => _request.IsRead || _request.IsWrite ? _request.Length : 0;

    void IGatedRequest.NoteWait(RequestWaits reason) => _waits |= reason;

    void IGatedRequest.Restart() => Begin();

    void IGatedRequest.Refuse(int error) => End(error);

    private void Begin()
    {
        if (_queue.Shape.NullIo)
        {
            End(0);
            return;
        }

        var error = CheckRange();
        if (error < 0)
            End(error);
        else if (_request.IsRead || _request.IsWrite)
            BeginTransfer();
        else
            StartAtHome();
    }

    /// <summary>The kernel knows the size of the disk; a request past its end comes from a shrunken image.</summary>
    private int CheckRange()
    {
        var operation = _request.Operation;
        if (operation == Interop.Ublk.UBLK_IO_OP_FLUSH)
            return 0;
        if (operation is not (Interop.Ublk.UBLK_IO_OP_READ or Interop.Ublk.UBLK_IO_OP_WRITE
            or Interop.Ublk.UBLK_IO_OP_DISCARD or Interop.Ublk.UBLK_IO_OP_WRITE_ZEROES))
        {
            return -Errno.EOPNOTSUPP;
        }

        var size = (ulong)_queue.Served.Size >> 9;
        if (_request.StartSector > size || _request.Sectors > size - _request.StartSector)
            return -Errno.EIO;
        return (_request.IsRead || _request.IsWrite) && (_request.Length > _queue.Shape.MaximumBytes || _request.Length == 0)
            ? -Errno.EINVAL : 0;
    }

    /// <summary>What the request asked for is done, or failed: on the loop of the queue.</summary>
    private void Ended(int result)
    {
        if (result == LongRequest.Interrupted)
        {
            _queue.Gate.Interrupted(this);
            return;
        }

        if (result == -Errno.ENOSPC && _queue.Served.ParkOnNoSpace && _queue.Gate.Refusal == 0)
        {
            // Its bytes stay with the kernel: the next try fetches them again, and the memory is of use meanwhile.
            ReleaseBuffer();
            _queue.Gate.Park(this);
            return;
        }

        if (result >= 0 && _request.IsRead)
            result = GiveBytes();
        End(result);
    }

    /// <summary>Tells the kernel how the request ended, and asks for the next one.</summary>
    private void End(int error)
    {
        ReleaseBuffer();
        var transfers = _request.IsRead || _request.IsWrite;
        var elapsed = Stopwatch.GetTimestamp() - _started;
        _queue.Statistics.Count(_request.Kind, _request.Length, error < 0, elapsed);
        if (_queue.Served.Trace.Session is { } trace)
        {
            trace.Add(new TraceRecord(_request.TracedAs, _way, _waits, (ushort)_queue.Index, error < 0 ? -error : 0, _request.Offset,
                _request.Length, _started, elapsed));
        }

        _queue.Gate.Ended();
        Command(Interop.Ublk.UBLK_U_IO_COMMIT_AND_FETCH_REQ, error < 0 ? error : transfers ? (int)_request.Length : 0);
    }

    private void Command(uint command, int result)
    {
        var entry = _queue.Loop.Ring.Next();
        entry->opcode = IoUring.IORING_OP_URING_CMD;
        entry->fd = _queue.Shape.Descriptor;
        entry->cmd_op = command;
        entry->user_data = _userData;
        if (_queue.Shape.Mode == UblkMode.ZeroCopy)
            entry->addr = Interop.Ublk.AutoBufferWord(_tag, Interop.Ublk.UBLK_AUTO_BUF_REG_FALLBACK);
        var payload = (ublksrv_io_cmd*)&entry->cmd;
        payload->q_id = (ushort)_queue.Index;
        payload->tag = _tag;
        payload->result = result;
        payload->addr = (ulong)_mapped.Address;
    }
}
