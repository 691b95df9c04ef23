using System.Numerics;
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
    private bool _admitted;

    /// <summary>
    /// The shortest way that there is: the pages of the request itself; else a buffer, as soon as there is memory for it.
    /// </summary>
    private void BeginTransfer()
    {
        if (_queue.Shape.Mode == UblkMode.Map)
            CopyAdmitted();
        else if (!MayPassByReference || !TryPassByReference())
            _queue.Copies.Begin(_transfer);
    }

    private bool MayPassByReference =>
        _queue.Shape.Mode == UblkMode.ZeroCopy && !_request.MustCopy && _request.MayTransferDirectly;

    private bool TryPassByReference()
    {
        if (!TryMap(out var file, out var offset))
            return false;
        if (file.IsMemory)
        {
            // Its transfers never wait, and the ring would need a worker thread for each.
            _disk.Epochs.Exit(_queue.Loop.Index, _parity);
            return false;
        }

        _queue.ZeroCopied++;
        _transfer.SubmitFixed(file, offset, (int)_request.Length);
        return true;
    }

    /// <summary>There is a buffer, or memory for one: one submission on this loop's ring, or the long way.</summary>
    private void CopyAdmitted()
    {
        if (!_request.MayTransferDirectly || !TryMap(out var file, out var offset))
        {
            if (_request.IsRead && ReadsZeroes())
                EndWithZeroes();
            else
                StartCopying();
            return;
        }

        var length = (int)_request.Length;
        var error = TakeBytes();
        if (error < 0)
        {
            _disk.Epochs.Exit(_queue.Loop.Index, _parity);
            End(error);
        }
        else if (file.IsMemory)
            TransferEnded(MemoryFile.Run(file, _request.IsWrite ? IoUring.IORING_OP_WRITE : IoUring.IORING_OP_READ, offset, length, _buffer.Address, 0) is var result and < 0 ? result : length);
        else
            _transfer.Submit(file, offset);
    }

    /// <summary>Finds the one piece of file that holds the whole range. If there is one, an epoch was entered.</summary>
    private bool TryMap(out FileStorage file, out long offset)
    {
        var disk = _queue.Served.Disk;
        var length = (int)_request.Length;
        _parity = disk.Epochs.Enter(_queue.Loop.Index);
        var mapped = _request.IsWrite ? disk.TryMapWrite(_request.Offset, length, out var extent) : disk.TryMapRead(_request.Offset, length, out extent);
        (file, offset) = ((extent.File as FileStorage)!, extent.Offset);
        if (mapped && file is not null && ((offset | (uint)length) & (file.OffsetAlignment - 1)) == 0)
        {
            _disk = disk;
            return true;
        }

        disk.Epochs.Exit(_queue.Loop.Index, _parity);
        return false;
    }

    private bool ReadsZeroes()
    {
        var disk = _queue.Served.Disk;
        var parity = disk.Epochs.Enter(_queue.Loop.Index);
        var zeroes = disk.TryMapZeroes(_request.Offset, (int)_request.Length);
        disk.Epochs.Exit(_queue.Loop.Index, parity);
        return zeroes;
    }

    private void EndWithZeroes()
    {
        var length = (int)_request.Length;
        if (!_mapped.IsEmpty)
            _mapped.Slice(0, length).Clear();
        End(_mapped.IsEmpty ? Give(_queue.Zeroes, length) : 0);
    }

    private void TransferEnded(int result)
    {
        if (_request.IsWrite && result > 0)
            _disk.NoteDirectWrite();
        _disk.Epochs.Exit(_queue.Loop.Index, _parity);
        if (result != _request.Length)
            TryCarefully();
        else if (_request.IsRead && !_buffer.IsEmpty)
            Ended(0);
        else
            End(0);
    }

    /// <summary>Short or failed: the careful way finds out what it is.</summary>
    private void TryCarefully()
    {
        if (_admitted || _queue.Shape.Mode == UblkMode.Map)
            StartCopying();
        else
            _queue.Copies.Begin(_transfer);
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
        var length = (int)_request.Length;
        if (!_mapped.IsEmpty)
        {
            _buffer = _mapped.Slice(0, length);
            return 0;
        }

        if (!_buffer.IsEmpty)
            return 0; // A second try: the first has fetched them.
        _buffer = _queue.Loop.Buffers.Rent(length);
        if (!_request.IsWrite)
            return 0;
        var copied = Files.Read(_queue.Shape.Descriptor, (void*)_buffer.Address, (nuint)length, Interop.Ublk.IoBufferOffset(_queue.Index, _tag, 0));
        return copied == length ? 0 : copied < 0 ? (int)copied : -Errno.EIO;
    }

    /// <summary>Hands the bytes of a READ to the kernel where it does not take them itself.</summary>
    private int GiveBytes() => _mapped.IsEmpty ? Give(_buffer.Address, (int)_request.Length) : 0;

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
        if (!_admitted)
            return;
        _admitted = false;
        _queue.Copies.End(_transfer.WorkBytes);
    }

    /// <summary>The direct transfer's own number on the ring, and its place in the line for buffers.</summary>
    private sealed class Transfer : IRingOperation, IBudgetedWork
    {
        private readonly UblkTag _owner;
        private readonly ulong _userData;

        public Transfer(UblkTag owner)
        {
            _owner = owner;
            _userData = (ulong)owner._queue.Loop.Register(this);
        }

        public long WorkBytes => (long)BitOperations.RoundUpToPowerOf2((ulong)_owner._request.Length);

        public void BeginWork()
        {
            _owner._admitted = true;
            _owner.CopyAdmitted();
        }

        public void Completed(int result, uint flags) => _owner.TransferEnded(result);

        /// <summary>Through the buffer.</summary>
        public void Submit(FileStorage file, long offset)
        {
            var entry = _owner._queue.Loop.Ring.Next();
            entry->opcode = _owner._request.IsWrite ? IoUring.IORING_OP_WRITE : IoUring.IORING_OP_READ;
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
            entry->opcode = _owner._request.IsWrite ? IoUring.IORING_OP_WRITE_FIXED : IoUring.IORING_OP_READ_FIXED;
            entry->fd = file.Descriptor;
            entry->off = (ulong)offset;
            entry->addr = 0; // The offset inside the request.
            entry->len = (uint)length;
            entry->buf_index = _owner._tag;
            entry->user_data = _userData;
        }
    }
}
