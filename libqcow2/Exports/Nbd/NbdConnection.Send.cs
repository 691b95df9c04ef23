using System;
using System.Diagnostics;
using System.Runtime.CompilerServices;
using DotNext.Runtime.InteropServices;
using Qcow2Blk.Buffers;
using Qcow2Blk.Interop;
using Qcow2Blk.Protocol;
using Qcow2Blk.Uring;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>What goes out on the socket.</summary>
internal sealed partial class NbdConnection
{
    /// <summary>One message at a time, of as many replies as fit its vectors.</summary>
    /// <remarks>Invariant: vectors, headers and buffers stay where they are until the message is sent whole.</remarks>
    private sealed unsafe class SendOperation : IRingOperation, IDisposable
    {
        private const int MaximumVectors = 512;

        private readonly NbdConnection _connection;
        private readonly NbdRequest[] _requests = new NbdRequest[MaximumVectors];
        private readonly int _index;
        private readonly UnmanagedMemory<Message> _memory = new();
        private readonly msghdr* _message;
        private readonly iovec* _vectors;
        private NativeBuffer _handshakeBytes;
        private int _requestCount;
        private int _vectorCount;
        private int _firstVector;

        public SendOperation(NbdConnection connection)
        {
            _connection = connection;
            _index = connection._loop.Loop.Register(this);
            Message* memory = _memory.Pointer;
            _message = &memory->Header;
            _vectors = (iovec*)&memory->Vectors;
        }

        public bool IsBusy { get; private set; }

        public bool HasBytes => _vectorCount > 0 || _queued.Length > 0;

        public bool HasRoom => _vectorCount + (2 * NbdRequest.MaximumPieces) <= MaximumVectors;

        private byte[] _queued = [];

        /// <summary>Sends bytes of the handshake, which are few.</summary>
        public void Queue(ReadOnlySpan<byte> bytes)
        {
            var all = new byte[_queued.Length + bytes.Length];
            _queued.CopyTo(all, 0);
            bytes.CopyTo(all.AsSpan(_queued.Length));
            _queued = all;
        }

        public void Add(NbdRequest request)
        {
            _requests[_requestCount++] = request;
            var mode = _connection.Session.ReplyMode;
            var head = request.Head.Span;
            if (request.Error != NbdErrors.Success)
            {
                AddVector(request.Head, ReplyEncoder.WriteCompletion(head, mode, request.Header, request.Error, MessageFor(request)));
            }
            else if (request.Header.Command == NbdCommand.BlockStatus)
            {
                AddVector(request.Buffer, request.ReplyLength);
            }
            else if (request.Header.Command != NbdCommand.Read || request.Buffer.IsEmpty)
            {
                AddVector(request.Head, ReplyEncoder.WriteCompletion(head, mode, request.Header, NbdErrors.Success));
            }
            else if (request.Pieces.Count > 0)
            {
                AddPieces(request, mode);
            }
            else
            {
                AddVector(request.Head, ReplyEncoder.WriteReadHeader(head, mode, request.Header));
                AddVector(request.Buffer, request.Buffer.Length);
            }
        }

        /// <summary>Sends at once what the socket takes, and leaves the rest to the ring.</summary>
        /// <returns>whether all of it went</returns>
        public bool Submit()
        {
            // A socket mostly has room. Then this saves the completion, and the wait for it, that the ring would cost.
            while (true)
            {
                PrepareMessage();
                var result = (int)Poll.SendMessage(_connection._socket, _message, MSG_NOSIGNAL | MSG_DONTWAIT);
                if (result == -Errno.EINTR || (result > 0 && !Skip(result)))
                    continue;
                if (result > 0)
                {
                    Finish();
                    return true;
                }

                if (result == -Errno.EAGAIN)
                    SubmitToRing();
                else
                    Fail();
                return false;
            }
        }

        public void Completed(int result, uint flags)
        {
            if (result is -Errno.EINTR or -Errno.EAGAIN || (result > 0 && !Skip(result)))
            {
                SubmitToRing();
                return;
            }

            IsBusy = false;
            if (result <= 0)
            {
                Fail();
            }
            else
            {
                Finish();
                _connection._starved = true;
                _connection.FlushReplies();
                if (!IsBusy && !_connection._closing)
                    _connection.Sent();
            }

            _connection.FinishClose();
        }

        public void Dispose()
        {
            _connection._loop.Loop.Unregister(_index);
            if (!_handshakeBytes.IsEmpty)
                _connection._pool.Return(_handshakeBytes);
            _memory.Dispose();
        }

        private struct Message
        {
            internal msghdr Header;
            internal Vectors Vectors;
        }

        [InlineArray(MaximumVectors)]
        private struct Vectors
        {
            private iovec _first;
        }

        private static ReadOnlySpan<byte> MessageFor(NbdRequest request) => request.Error switch
        {
            NbdErrors.NoSpace => "no space"u8,
            NbdErrors.PermissionDenied => "the export is read-only"u8,
            NbdErrors.Invalid => "invalid request"u8,
            NbdErrors.NotSupported => "cannot be done fast"u8,
            _ => default,
        };

        private void PrepareMessage() => *_message = new msghdr
        {
            msg_iov = _vectors + _firstVector,
            msg_iovlen = _vectorCount - _firstVector,
        };

        private void SubmitToRing()
        {
            IsBusy = true;
            _connection._loop.WatchClients();
            PrepareMessage();
            var entry = _connection._loop.Loop.Ring.Next();
            entry->opcode = IoUring.IORING_OP_SENDMSG;
            entry->fd = _connection._socket;
            entry->addr = (ulong)_message;
            entry->len = 1;
            entry->rw_flags = (uint)MSG_NOSIGNAL;
            entry->user_data = (ulong)_index;
        }

        /// <summary>The client is gone; it will not hear of its requests.</summary>
        private void Fail()
        {
            Finish();
            _connection.Close();
        }

        /// <returns>whether everything was sent</returns>
        private bool Skip(int sent)
        {
            _connection._sent++;
            while (_firstVector < _vectorCount && (uint)sent >= _vectors[_firstVector].iov_len)
                sent -= (int)_vectors[_firstVector++].iov_len;
            if (_firstVector == _vectorCount)
                return true;
            ref var rest = ref _vectors[_firstVector];
            rest.iov_base = (byte*)rest.iov_base + sent;
            rest.iov_len -= sent;
            return false;
        }

        private void Finish()
        {
            var now = Stopwatch.GetTimestamp();
            for (var i = 0; i < _requestCount; i++)
            {
                _connection.Answered(_requests[i], now);
                _requests[i] = null!;
            }

            if (!_handshakeBytes.IsEmpty)
                _connection._pool.Return(_handshakeBytes);
            _handshakeBytes = default;
            _requestCount = _vectorCount = _firstVector = 0;
        }

        private void AddPieces(NbdRequest request, ReplyMode mode)
        {
            var used = 0;
            for (var i = 0; i < request.Pieces.Count; i++)
            {
                var (start, length, isHole) = request.Pieces[i];
                var done = i == request.Pieces.Count - 1;
                var offset = request.Header.Offset + (ulong)start;
                var head = request.Head.Slice(used);
                var written = isHole
                    ? ReplyEncoder.WriteOffsetHole(head.Span, mode, request.Header, offset, (uint)length, done)
                    : ReplyEncoder.WriteOffsetData(head.Span, mode, request.Header, offset, (uint)length, done);
                AddVector(head, written);
                used += written;
                if (!isHole)
                    AddVector(request.Buffer.Slice(start), length);
            }
        }

        /// <summary>What the handshake has to say goes before any reply.</summary>
        public void AddHandshake()
        {
            if (_queued.Length == 0)
                return;
            _handshakeBytes = _connection._pool.Rent(_queued.Length);
            _queued.CopyTo(_handshakeBytes.Span);
            _queued = [];
            AddVector(_handshakeBytes, _handshakeBytes.Length);
        }

        private void AddVector(NativeBuffer buffer, int length) =>
            _vectors[_vectorCount++] = new iovec { iov_base = (void*)buffer.Address, iov_len = length };
    }
}
