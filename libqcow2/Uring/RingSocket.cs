using System;
using System.Runtime.CompilerServices;
using DotNext.Runtime.InteropServices;
using Qcow2Blk.Buffers;
using Qcow2Blk.Interop;
using Tmds.Linux;
using static Tmds.Linux.LibC;
using io_uring_sqe = Qcow2Blk.Interop.io_uring_sqe;

namespace Qcow2Blk.Uring;

/// <summary>Who is told of what a <see cref="RingSocket"/> did. On the loop.</summary>
internal interface IRingSocketUser
{
    /// <param name="result">bytes that came; 0 at the end of the stream; a negative errno</param>
    void Received(int result);

    /// <param name="result">bytes that went; a negative errno</param>
    void Sent(int result);
}

/// <summary>A stream socket, connected or on its way to be: one receive and one send at a time, on the ring.</summary>
/// <remarks>Invariant: buffers stay where they are until the user has been told.</remarks>
internal sealed unsafe class RingSocket : IDisposable
{
    private readonly EventLoop _loop;
    private readonly int _fd;
    private readonly Operation _receive;
    private readonly Operation _send;

    /// <param name="loop">the loop that is running</param>
    /// <param name="fd">not non-blocking; closed with this</param>
    /// <param name="user">told of what comes and goes</param>
    public RingSocket(EventLoop loop, int fd, IRingSocketUser user)
    {
        _loop = loop;
        _fd = fd;
        _receive = new Operation(loop, user.Received);
        _send = new Operation(loop, user.Sent);
    }

    public bool IsReceiving => _receive.IsBusy;

    public bool IsSending => _send.IsBusy;

    /// <summary>Receives into the first buffer, which may be empty, and what does not fit there into the second.</summary>
    public void Receive(NativeBuffer first, NativeBuffer second)
    {
        var entry = _receive.Begin(IoUring.IORING_OP_RECVMSG, _fd, first, second);
        entry->ioprio = _receive.ExpectsMore ? (ushort)0 : IoUring.IORING_RECVSEND_POLL_FIRST;
    }

    /// <summary>Sends some or all of the bytes; waits for room.</summary>
    public void Send(NativeBuffer bytes) => _send.Begin(IoUring.IORING_OP_SENDMSG, _fd, bytes, default)->rw_flags = (uint)MSG_NOSIGNAL;

    /// <summary>Sends what there is room for, now.</summary>
    /// <returns>the bytes that went, or a negative errno: -EAGAIN if there is no room</returns>
    public int TrySend(NativeBuffer bytes) => UnixSocket.TrySend(_fd, bytes.Span);

    /// <summary>Ends what is under way: the user is told of it as always.</summary>
    public void Shut()
    {
        _ = Sockets.Shutdown(_fd, SHUT_RDWR);
        _receive.Cancel();
        _send.Cancel();
    }

    /// <summary>Closes the socket. Nothing may be under way.</summary>
    public void Dispose()
    {
        _receive.Dispose();
        _send.Dispose();
        _ = Files.Close(_fd);
    }

    private sealed class Operation : IRingOperation, IDisposable
    {
        private readonly EventLoop _loop;
        private readonly Action<int> _completed;
        private readonly int _index;
        private readonly UnmanagedMemory<Message> _memory = new();

        public Operation(EventLoop loop, Action<int> completed)
        {
            _loop = loop;
            _completed = completed;
            _index = loop.Register(this);
        }

        public bool IsBusy { get; private set; }

        /// <summary>Whether the last receive left something in the socket: otherwise trying first would only fail.</summary>
        public bool ExpectsMore { get; private set; }

        public io_uring_sqe* Begin(byte opcode, int fd, NativeBuffer first, NativeBuffer second)
        {
            IsBusy = true;
            Message* memory = _memory.Pointer;
            var vectors = (iovec*)&memory->Vectors;
            var count = 0;
            if (!first.IsEmpty)
                vectors[count++] = new iovec { iov_base = (void*)first.Address, iov_len = first.Length };
            if (!second.IsEmpty)
                vectors[count++] = new iovec { iov_base = (void*)second.Address, iov_len = second.Length };
            memory->Header = new msghdr { msg_iov = vectors, msg_iovlen = count };
            var entry = _loop.Ring.Next();
            entry->opcode = opcode;
            entry->fd = fd;
            entry->addr = (ulong)&memory->Header;
            entry->len = 1;
            entry->user_data = (ulong)_index;
            return entry;
        }

        public void Cancel()
        {
            if (!IsBusy)
                return;
            var entry = _loop.Ring.Next();
            entry->opcode = IoUring.IORING_OP_ASYNC_CANCEL;
            entry->fd = -1;
            entry->addr = (ulong)_index;
            entry->user_data = ulong.MaxValue;
        }

        public void Completed(int result, uint flags)
        {
            IsBusy = false;
            ExpectsMore = (flags & IoUring.IORING_CQE_F_SOCK_NONEMPTY) != 0;
            _completed(result);
        }

        public void Dispose()
        {
            _loop.Unregister(_index);
            _memory.Dispose();
        }
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
