using System;
using Qcow2Blk.Buffers;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Storage;

/// <summary>
/// One transfer, sync or fallocate on the ring of the calling thread, retried until it is whole. Pooled per loop.
/// </summary>
internal sealed unsafe class FileOperation : LoopTaskSource<int>, IRingOperation
{
    private readonly EventLoop _loop;
    private readonly ulong _userData;
    private FileOperation? _next;
    private FileStorage _file = null!;
    private byte _opcode;
    private long _offset;
    private long _length;
    private nint _address;
    private uint _mode;

    private FileOperation(EventLoop loop)
    {
        _loop = loop;
        _userData = (ulong)loop.Register(this);
    }

    public static LoopTask<int> Read(FileStorage file, long offset, NativeBuffer buffer) =>
        Start(file, IoUring.IORING_OP_READ, offset, buffer.Length, buffer.Address, 0);

    public static LoopTask<int> Write(FileStorage file, long offset, NativeBuffer buffer) =>
        Start(file, IoUring.IORING_OP_WRITE, offset, buffer.Length, buffer.Address, 0);

    public static LoopTask<int> Sync(FileStorage file) =>
        Start(file, IoUring.IORING_OP_FSYNC, 0, 0, 0, IoUring.IORING_FSYNC_DATASYNC);

    public static LoopTask<int> Allocate(FileStorage file, int mode, long offset, long length) =>
        Start(file, IoUring.IORING_OP_FALLOCATE, offset, length, 0, (uint)mode);

    public void Completed(int result, uint flags)
    {
        if (result is -Errno.EINTR or -Errno.EAGAIN)
        {
            Submit();
            return;
        }

        if (result < 0 || _opcode is IoUring.IORING_OP_FSYNC or IoUring.IORING_OP_FALLOCATE)
        {
            SetResult(Math.Min(result, 0));
            return;
        }

        _offset += result;
        _address += result;
        _length -= result;
        if (_length > 0 && !EndedShort(result))
        {
            Submit();
            return;
        }

        if (_opcode == IoUring.IORING_OP_WRITE)
        {
            _file.NoteWritten(_offset);
            SetResult(_length == 0 ? 0 : -Errno.EIO);
            return;
        }

        // Past the end of the file there are zeroes.
        if (_length > 0)
            new Span<byte>((void*)_address, (int)_length).Clear();
        SetResult(0);
    }

    protected override void Recycle()
    {
        _file = null!;
        _next = (FileOperation?)_loop.FreeFileOperations;
        _loop.FreeFileOperations = this;
    }

    private static LoopTask<int> Start(FileStorage file, byte opcode, long offset, long length, nint address, uint mode)
    {
        if (file.IsMemory)
            return new LoopTask<int>(MemoryFile.Run(file, opcode, offset, length, address, mode));
        var loop = EventLoop.Current;
        var operation = (FileOperation?)loop.FreeFileOperations;
        if (operation is null)
            operation = new FileOperation(loop);
        else
            loop.FreeFileOperations = operation._next;
        operation._file = file;
        operation._opcode = opcode;
        operation._offset = offset;
        operation._length = length;
        operation._address = address;
        operation._mode = mode;
        operation.Submit();
        return operation.Task;
    }

    /// <summary>Whether a short count means that no more can come: a read at the end of the file, or no progress.</summary>
    /// <remarks>With O_DIRECT a short read leaves the position unaligned; going on from there would fail.</remarks>
    private bool EndedShort(int result) =>
        result == 0 || (_opcode == IoUring.IORING_OP_READ && (_offset & (_file.OffsetAlignment - 1)) != 0);

    private void Submit()
    {
        var entry = _loop.Ring.Next();
        entry->opcode = _opcode;
        entry->fd = _file.Descriptor;
        entry->off = (ulong)_offset;
        entry->user_data = _userData;
        if (_opcode == IoUring.IORING_OP_FALLOCATE)
        {
            entry->addr = (ulong)_length;
            entry->len = _mode;
            return;
        }

        entry->addr = (ulong)_address;
        entry->len = (uint)_length;
        entry->rw_flags = _mode;
    }
}
