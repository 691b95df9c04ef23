using System;
using System.Runtime.CompilerServices;
using DotNext.Runtime.InteropServices;
using Qcow2Blk.Buffers;
using Qcow2Blk.Interop;
using Qcow2Blk.Uring;
using Tmds.Linux;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>
/// Receiving: many small requests come with one receive; a large payload is received where it will be written from.
/// </summary>
internal sealed partial class NbdConnection
{
    private const int ChunkBytes = 256 * 1024;

    // With less room than this left in a chunk, what is in it moves to a new one.
    private const int SmallestReceive = 16 * 1024;

    private ReceiveChunk _chunk;
    private NbdRequest? _payloadOf;
    private NbdRequest? _heldRequest;
    private int _payloadReceived;
    private uint _drain;

    /// <summary>Waits for more bytes, unless it does already or has enough.</summary>
    private void ArmReceive()
    {
        if (_receive.IsBusy || _stopReading || _closing)
            return;
        if (_payloadOf is null && !MakeRoom())
            return; // Enough received, none of it can be begun now: the client has to wait.
        var payload = _payloadOf is null ? default : _payloadOf.Buffer.Slice(_payloadReceived);
        _receive.Submit(payload, _chunk.Memory.Slice(_chunk.End));
    }

    /// <summary>Sees to it that there is room to receive into.</summary>
    private bool MakeRoom()
    {
        var chunk = _chunk;
        if (chunk.Available == 0 && chunk.IsExclusive)
        {
            // Nothing left over and nobody uses it: the same memory again, still warm.
            chunk.Start = chunk.End = 0;
            return true;
        }

        if (chunk.Room >= SmallestReceive)
            return true;
        if (chunk.Available > ChunkBytes - SmallestReceive)
            return false;
        MoveToNewChunk();
        return true;
    }

    private void MoveToNewChunk()
    {
        var old = _chunk;
        var fresh = _loop.Chunks.Rent(ChunkBytes);
        var rest = old.Memory.Span[old.Start..old.End];
        rest.CopyTo(fresh.Memory.Span);
        fresh.End = rest.Length;
        old.Release();
        _chunk = fresh;
    }

    private void Received(int result)
    {
        if (_closing)
        {
            AbandonPayload();
            FinishClose();
            return;
        }

        if (_leaving && result == -Errno.ECANCELED)
            return;
        if (result <= 0)
        {
            // The end of the stream, or a reset: requests in progress end by themselves, nobody hears of them.
            if (_handshake is null && result < 0 && result is not (-Errno.ECONNRESET or -Errno.ECANCELED))
                _report($"closing a connection: receive failed: {Errno.Text(result)}");
            Close();
            AbandonPayload();
            FinishClose();
            return;
        }

        _received++;
        if (_payloadOf is not null)
            result = TakePayload(result);
        _chunk.End += result;
        Process();
    }

    /// <summary>The first bytes belong to the payload that is waited for.</summary>
    /// <returns>how many bytes went into the chunk after it</returns>
    private int TakePayload(int result)
    {
        var request = _payloadOf!;
        var taken = Math.Min(result, request.Buffer.Length - _payloadReceived);
        _payloadReceived += taken;
        if (_payloadReceived == request.Buffer.Length)
        {
            _payloadOf = null;

            // Begun only when the gate is open; a client that stalls in its payload must not keep it from closing.
            if (_loop.Gate.IsShut)
                _heldRequest = request;
            else
                Begin(request);
        }

        return result - taken;
    }

    /// <summary>Drops a write that has not begun: its client is gone.</summary>
    private void AbandonPayload()
    {
        var request = _payloadOf ?? _heldRequest ?? _refused;
        _payloadOf = _heldRequest = _refused = null;
        if (request is null)
            return;
        Release(request);
        _unanswered--;
    }

    /// <summary>One receive at a time: into the rest of a payload, if one is waited for, and the chunk.</summary>
    /// <remarks>Invariant: message header and vectors stay where they are until the completion.</remarks>
    private sealed unsafe class ReceiveOperation : IRingOperation, IDisposable
    {
        private readonly NbdConnection _connection;
        private readonly int _index;
        private readonly UnmanagedMemory<Message> _memory = new();
        private readonly msghdr* _message;
        private readonly iovec* _vectors;
        private ReadOnlyMemory<byte> _inherited;
        private bool _expectMore = true;

        public ReceiveOperation(NbdConnection connection)
        {
            _connection = connection;
            _index = connection._loop.Loop.Register(this);
            Message* memory = _memory.Pointer;
            _message = &memory->Header;
            _vectors = (iovec*)&memory->Vectors;
        }

        public bool IsBusy { get; private set; }

        /// <summary>Bytes that come before those in the socket, and have not been taken yet.</summary>
        public ReadOnlySpan<byte> Inherited => _inherited.Span;

        public void Inherit(ReadOnlyMemory<byte> bytes) => _inherited = bytes;

        public void Submit(NativeBuffer payload, NativeBuffer chunk)
        {
            IsBusy = true;
            if (!_inherited.IsEmpty)
            {
                TakeInherited(payload, chunk);
                return;
            }

            var entry = _connection._loop.Loop.Ring.Next();
            entry->fd = _connection._socket;
            entry->user_data = (ulong)_index;

            // When the last receive emptied the socket, trying first would only fail.
            entry->ioprio = _expectMore ? (ushort)0 : IoUring.IORING_RECVSEND_POLL_FIRST;
            if (payload.IsEmpty)
            {
                entry->opcode = IoUring.IORING_OP_RECV;
                entry->addr = (ulong)chunk.Address;
                entry->len = (uint)chunk.Length;
                return;
            }

            _vectors[0] = new iovec { iov_base = (void*)payload.Address, iov_len = payload.Length };
            _vectors[1] = new iovec { iov_base = (void*)chunk.Address, iov_len = chunk.Length };
            *_message = new msghdr { msg_iov = _vectors, msg_iovlen = 2 };
            entry->opcode = IoUring.IORING_OP_RECVMSG;
            entry->addr = (ulong)_message;
            entry->len = 1;
        }

        /// <summary>Ends a receive that waits: it completes with -ECANCELED, or with what came before.</summary>
        public void Cancel()
        {
            if (!IsBusy)
                return;
            var entry = _connection._loop.Loop.Ring.Next();
            entry->opcode = IoUring.IORING_OP_ASYNC_CANCEL;
            entry->fd = -1;
            entry->addr = (ulong)_index;
            entry->user_data = ulong.MaxValue;
        }

        private void TakeInherited(NativeBuffer payload, NativeBuffer chunk)
        {
            var toPayload = Math.Min(payload.Length, _inherited.Length);
            var toChunk = Math.Min(chunk.Length, _inherited.Length - toPayload);
            _inherited.Span[..toPayload].CopyTo(payload.Span);
            _inherited.Span.Slice(toPayload, toChunk).CopyTo(chunk.Span);
            _inherited = _inherited[(toPayload + toChunk)..];
            _connection._loop.Loop.Post(() => Completed(toPayload + toChunk, IoUring.IORING_CQE_F_SOCK_NONEMPTY));
        }

        public void Completed(int result, uint flags)
        {
            IsBusy = false;
            _expectMore = (flags & IoUring.IORING_CQE_F_SOCK_NONEMPTY) != 0;
            if (result is -Errno.EINTR or -Errno.EAGAIN && !_connection._closing)
                _connection.ArmReceive();
            else
                _connection.Received(result);
            _connection.FinishClose();
        }

        public void Dispose()
        {
            _connection._loop.Loop.Unregister(_index);
            _memory.Dispose();
        }

        private struct Message
        {
            internal msghdr Header;
            internal Vectors Vectors;
        }

        [InlineArray(2)]
        private struct Vectors
        {
            private iovec _first;
        }
    }
}
