using Qcow2Blk.Buffers;
using Qcow2Blk.Image;
using Qcow2Blk.Interop;
using Qcow2Blk.Storage;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Exports.Ublk;

/// <summary>Moving the bytes of a READ or WRITE: straight between request and file where that can be, else through a buffer.</summary>
internal sealed unsafe partial class UblkTag
{
    private NativeBuffer _buffer;
    private IDisk _disk = null!;
    private int _parity;

    /// <summary>Tries the short way: one submission on this loop's ring, or one system call for a file in memory.</summary>
    private void BeginTransfer()
    {
        if (IsWrite && ForceUnitAccess)
        {
            StartCopying();
            return;
        }

        var disk = _queue.Served.Disk;
        var length = (int)Length;
        _parity = disk.Epochs.Enter(_queue.Loop.Index);
        var mapped = IsWrite ? disk.TryMapWrite(Offset, length, out var extent) : disk.TryMapRead(Offset, length, out extent);
        if (!mapped || extent.File is not FileStorage file || ((extent.Offset | (uint)length) & (file.OffsetAlignment - 1)) != 0)
        {
            var zeroes = !mapped && IsRead && disk.TryMapZeroes(Offset, length);
            disk.Epochs.Exit(_queue.Loop.Index, _parity);
            if (zeroes)
                EndWithZeroes();
            else
                StartCopying();
            return;
        }

        _disk = disk;
        if (!file.IsMemory && MayPassByReference(length))
        {
            _queue.ZeroCopied++;
            _transfer.SubmitFixed(file, extent.Offset, length);
            return;
        }

        var error = TakeBytes();
        if (error < 0)
            TransferEnded(error);
        else if (file.IsMemory)
            TransferEnded(MemoryFile.Run(file, IsWrite ? IoUring.IORING_OP_WRITE : IoUring.IORING_OP_READ, extent.Offset, length, _buffer.Address, 0) is var result and < 0 ? result : length);
        else
            _transfer.Submit(file, extent.Offset);
    }

    private void EndWithZeroes()
    {
        var length = (int)Length;
        if (!_mapped.IsEmpty)
            _mapped.Slice(0, length).Clear();
        End(_mapped.IsEmpty ? Give(_queue.Zeroes, length) : 0);
    }

    private bool MayPassByReference(int length) =>
        _queue.Shape.Mode == UblkMode.ZeroCopy && length >= _queue.Shape.ZeroCopyFrom && (_flags & Interop.Ublk.UBLK_IO_F_NEED_REG_BUF) == 0;

    private void TransferEnded(int result)
    {
        if (IsWrite && result > 0)
            _disk.NoteDirectWrite();
        _disk.Epochs.Exit(_queue.Loop.Index, _parity);
        if (result != Length)
            StartCopying(); // Short or failed: the careful way finds out what it is.
        else if (IsRead && !_buffer.IsEmpty)
            Ended(0);
        else
            End(0);
    }

    /// <summary>The long way for a READ or WRITE: through a buffer, by the home loop.</summary>
    private void StartCopying()
    {
        var error = TakeBytes();
        if (error < 0)
            End(error);
        else
            StartAtHome();
    }

    /// <summary>Gives the request a buffer, and a WRITE its bytes.</summary>
    private int TakeBytes()
    {
        var length = (int)Length;
        if (!_mapped.IsEmpty)
        {
            _buffer = _mapped.Slice(0, length);
            return 0;
        }

        if (!_buffer.IsEmpty)
            return 0; // A second try has them.
        _buffer = _queue.Loop.Buffers.Rent(length);
        if (!IsWrite)
            return 0;
        var copied = Files.Read(_queue.Shape.Descriptor, (void*)_buffer.Address, (nuint)length, Interop.Ublk.IoBufferOffset(_queue.Index, _tag, 0));
        return copied == length ? 0 : copied < 0 ? (int)copied : -Errno.EIO;
    }

    /// <summary>Hands the bytes of a READ to the kernel where it does not take them itself.</summary>
    private int GiveBytes()
    {
        return _mapped.IsEmpty ? Give(_buffer.Address, (int)Length) : 0;
    }

    private int Give(nint address, int length)
    {
        var copied = Files.Write(_queue.Shape.Descriptor, (void*)address, (nuint)length, Interop.Ublk.IoBufferOffset(_queue.Index, _tag, 0));
        return copied == length ? 0 : copied < 0 ? (int)copied : -Errno.EIO;
    }

    private void ReleaseBuffer()
    {
        if (!_buffer.IsEmpty && _mapped.IsEmpty)
            _queue.Loop.Buffers.Return(_buffer);
        _buffer = default;
    }

    /// <summary>The direct transfer's own number on the ring.</summary>
    private sealed class Transfer : IRingOperation
    {
        private readonly UblkTag _owner;
        private readonly ulong _userData;

        public Transfer(UblkTag owner)
        {
            _owner = owner;
            _userData = (ulong)owner._queue.Loop.Register(this);
        }

        public void Completed(int result, uint flags) => _owner.TransferEnded(result);

        /// <summary>Through the buffer.</summary>
        public void Submit(FileStorage file, long offset)
        {
            var entry = _owner._queue.Loop.Ring.Next();
            entry->opcode = _owner.IsWrite ? IoUring.IORING_OP_WRITE : IoUring.IORING_OP_READ;
            entry->fd = file.Descriptor;
            entry->off = (ulong)offset;
            entry->addr = (ulong)_owner._buffer.Address;
            entry->len = (uint)_owner._buffer.Length;
            entry->user_data = _userData;
        }

        /// <summary>With the pages of the request itself, which the driver has put into slot "tag" of the ring's buffers.</summary>
        public void SubmitFixed(FileStorage file, long offset, int length)
        {
            var entry = _owner._queue.Loop.Ring.Next();
            entry->opcode = _owner.IsWrite ? IoUring.IORING_OP_WRITE_FIXED : IoUring.IORING_OP_READ_FIXED;
            entry->fd = file.Descriptor;
            entry->off = (ulong)offset;
            entry->addr = 0; // The offset inside the request.
            entry->len = (uint)length;
            entry->buf_index = _owner._tag;
            entry->user_data = _userData;
        }
    }
}
