using System.Numerics;
using Qcow2Blk.Buffers;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Exports.Ublk;

/// <summary>Moving the bytes of a READ or WRITE: straight between request and file where that can be, else through a buffer.</summary>
internal sealed unsafe partial class UblkTag
{
    private NativeBuffer _buffer;
    private bool _admitted;

    /// <summary>
    /// The shortest way that there is: the pages of the request itself; else a buffer, as soon as there is memory for it.
    /// </summary>
    private void BeginTransfer()
    {
        if (_queue.Shape.Mode == UblkMode.Map)
            CopyAdmitted();
        else if (!MayPassByReference || !TryPassByReference())
            _queue.Copies.Begin(_copy);
    }

    private bool MayPassByReference =>
        _queue.Shape.Mode == UblkMode.ZeroCopy && !_request.MustCopy && _request.MayTransferDirectly;

    private bool TryPassByReference()
    {
        if (Map(orZeroes: false) != DirectMapping.File)
            return false;
        if (_transfer.File.IsMemory || !_transfer.IsPlain)
        {
            _transfer.Leave();
            return false;
        }

        _queue.ZeroCopied++;
        _way = RequestWay.ZeroCopy;
        _transfer.StartFixed(_tag); // The driver has put the pages of the request into that slot.
        return true;
    }

    /// <summary>There is a buffer, or memory for one: one submission on this loop's ring, or the long way.</summary>
    private void CopyAdmitted()
    {
        switch (_request.MayTransferDirectly ? Map(_request.IsRead) : DirectMapping.None)
        {
            case DirectMapping.Zeroes:
                EndWithZeroes();
                break;
            case DirectMapping.File when TakeBytes() is var error and < 0:
                _transfer.Leave();
                End(error);
                break;
            case DirectMapping.File:
                _way = RequestWay.Direct;
                _transfer.Start(_buffer.Address);
                break;
            default:
                StartCopying();
                break;
        }
    }

    private DirectMapping Map(bool orZeroes) =>
        _transfer.Map(_queue.Served.Disk, _request.IsWrite, _request.Offset, (int)_request.Length, orZeroes);

    private void EndWithZeroes()
    {
        _way = RequestWay.Zeroes;
        var length = (int)_request.Length;
        if (!_mapped.IsEmpty)
            _mapped.Slice(0, length).Clear();
        End(_mapped.IsEmpty ? Give(_queue.Zeroes, length) : 0);
    }

    void IDirectTransferOwner.DirectTransferEnded(int result)
    {
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
            _queue.Copies.Begin(_copy);
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
        var copied = Files.Read(_queue.Shape.Descriptor, (void*)_buffer.Address, (nuint)length,
            Interop.Ublk.IoBufferOffset(_queue.Index, _tag, 0));
        return copied == length ? 0 : copied < 0 ? (int)copied : -Errno.EIO;
    }

    /// <summary>Hands the bytes of a READ to the kernel where it does not take them itself.</summary>
    private int GiveBytes() => _mapped.IsEmpty ? Give(_buffer.Address, (int)_request.Length) : 0;

    private int Give(nint address, int length)
    {
        var copied = Files.Write(_queue.Shape.Descriptor, (void*)address, (nuint)length,
            Interop.Ublk.IoBufferOffset(_queue.Index, _tag, 0));
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
        _queue.Copies.End(_copy.WorkBytes);
    }

    /// <summary>The request's place in the line for buffers.</summary>
    private sealed class Copy(UblkTag owner) : IBudgetedWork
    {
        public long WorkBytes => (long)BitOperations.RoundUpToPowerOf2((ulong)owner._request.Length);

        public void BeginWork()
        {
            owner._admitted = true;
            owner.CopyAdmitted();
        }
    }
}
