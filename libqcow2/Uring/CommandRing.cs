using System;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Threading;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Uring;

/// <summary>
/// A small io_uring with 128-byte entries for the control commands of a driver: one command at a time, called
/// like a function, by whatever thread, with a limit to how long it may take.
/// </summary>
/// <remarks>
/// A command that does not end in time is cancelled. If it does not even end then, the kernel may still write to
/// <see cref="Buffer"/> and to the queues: the ring is given up, which means never used again and never freed.
/// That memory and the descriptor stay until the process ends, on purpose. (The end of such a process may have to
/// wait for the command too: the kernel does not let go of a thread that works for it.)
/// One call at a time: the caller keeps <see cref="Buffer"/> and <see cref="Call"/> together under a lock of its own.
/// </remarks>
internal sealed unsafe class CommandRing : IDisposable
{
    /// <summary>Bytes that a command may read and write.</summary>
    public const int BufferLength = 8192;

    /// <summary>Bytes of a command itself: what follows offset 48 of a 128-byte entry.</summary>
    public const int PayloadLength = 80;

    private const int EntryLength = 128;
    private const uint Entries = 4;

    // Commands have even numbers, the cancellation of one has the odd number after it.
    private const uint Cancellation = 1;
    private static readonly TimeSpan s_cancelPatience = TimeSpan.FromSeconds(2);

    private readonly int _fd;
    private readonly nint _queues;
    private readonly nuint _queuesLength;
    private readonly nint _entries;
    private readonly nuint _entriesLength;
    private readonly byte* _buffer;
    private readonly uint* _kernelHead;
    private readonly uint* _kernelTail;
    private readonly uint* _completionHead;
    private readonly uint* _completionTail;
    private readonly io_uring_cqe* _completions;
    private readonly uint _mask;
    private readonly uint _completionMask;
    private uint _tail;
    private ulong _serial;
    private bool _closed;

    private CommandRing(int fd, in io_uring_params parameters)
    {
        _fd = fd;
        _queuesLength = Math.Max(
            parameters.sq_off.array + (parameters.sq_entries * sizeof(uint)),
            parameters.cq_off.cqes + (parameters.cq_entries * (uint)sizeof(io_uring_cqe)));
        _entriesLength = parameters.sq_entries * EntryLength;
        var protection = PROT_READ | PROT_WRITE;
        _queues = Files.Map(_queuesLength, protection, MAP_SHARED | MAP_POPULATE, fd, IoUring.IORING_OFF_SQ_RING);
        _entries = Files.Map(_entriesLength, protection, MAP_SHARED | MAP_POPULATE, fd, IoUring.IORING_OFF_SQES);
        _buffer = (byte*)NativeMemory.AllocZeroed(BufferLength);
        if (_queues == 0 || _entries == 0)
            return;
        var queues = (byte*)_queues;
        _kernelHead = (uint*)(queues + parameters.sq_off.head);
        _kernelTail = (uint*)(queues + parameters.sq_off.tail);
        _completionHead = (uint*)(queues + parameters.cq_off.head);
        _completionTail = (uint*)(queues + parameters.cq_off.tail);
        _completions = (io_uring_cqe*)(queues + parameters.cq_off.cqes);
        _mask = parameters.sq_entries - 1;
        _completionMask = parameters.cq_entries - 1;

        // The index array is the identity for ever: slot i always holds entry i.
        var array = (uint*)(queues + parameters.sq_off.array);
        for (uint i = 0; i < parameters.sq_entries; i++)
            array[i] = i;
    }

    /// <summary>Whether a command did not end: the ring takes no more, and its memory stays.</summary>
    public bool IsGivenUp { get; private set; }

    /// <summary>Native memory that commands may point to; zeroed by nobody.</summary>
    public Span<byte> Buffer => new(_buffer, BufferLength);

    /// <summary>Where the kernel finds <see cref="Buffer"/>.</summary>
    public ulong BufferAddress => (ulong)_buffer;

    /// <summary>Sets up a ring.</summary>
    /// <returns>0 and the ring, or a negative errno: EPERM or ENOSYS where io_uring is disabled, EINVAL before Linux 5.19</returns>
    public static int Create(out CommandRing? ring)
    {
        ring = null;
        io_uring_params parameters = default;
        parameters.flags = IoUring.IORING_SETUP_SQE128;
        var fd = IoUring.Setup(Entries, &parameters);
        if (fd < 0)
            return fd;
        var made = new CommandRing(fd, parameters);
        if (made._queues == 0 || made._entries == 0)
        {
            made.Dispose();
            return -Errno.ENOMEM;
        }

        ring = made;
        return 0;
    }

    /// <summary>Sends a command (IORING_OP_URING_CMD) and waits for its end.</summary>
    /// <param name="fd">the driver's descriptor</param>
    /// <param name="command">cmd_op</param>
    /// <param name="payload">at most <see cref="PayloadLength"/> bytes</param>
    /// <param name="timeout">how long it may take</param>
    /// <returns>
    /// what the driver answered; -ETIMEDOUT if it did not in time (see <see cref="IsGivenUp"/>); -ESHUTDOWN if this
    /// ring was given up before; or why it could not be sent
    /// </returns>
    public int Call(int fd, uint command, ReadOnlySpan<byte> payload, TimeSpan timeout)
    {
        ObjectDisposedException.ThrowIf(_closed, this);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(payload.Length, PayloadLength);
        if (IsGivenUp)
            return -Errno.ESHUTDOWN;
        var entry = NextEntry();
        entry->opcode = IoUring.IORING_OP_URING_CMD;
        entry->fd = fd;
        entry->cmd_op = command;
        var serial = entry->user_data = _serial += 2;
        payload.CopyTo(new Span<byte>(&entry->cmd, PayloadLength));
        Volatile.Write(ref *_kernelTail, _tail);

        if (Wait(serial, timeout, out var result))
            return result;
        return CancelAndWait(serial);
    }

    public void Dispose()
    {
        if (_closed || IsGivenUp)
            return;
        _closed = true;
        if (_queues != 0)
            Files.Unmap(_queues, _queuesLength);
        if (_entries != 0)
            Files.Unmap(_entries, _entriesLength);
        NativeMemory.Free(_buffer);
        Files.Close(_fd);
    }

    private io_uring_sqe* NextEntry()
    {
        var entry = (byte*)_entries + ((_tail++ & _mask) * EntryLength);
        NativeMemory.Clear(entry, EntryLength);
        return (io_uring_sqe*)entry;
    }

    /// <summary>A command that waits can be woken by its cancellation; one that works or hangs cannot.</summary>
    private int CancelAndWait(ulong serial)
    {
        var entry = NextEntry();
        entry->opcode = IoUring.IORING_OP_ASYNC_CANCEL;
        entry->fd = -1;
        entry->addr = serial;
        entry->user_data = serial | Cancellation;
        Volatile.Write(ref *_kernelTail, _tail);

        if (!Wait(serial, s_cancelPatience, out var result))
        {
            IsGivenUp = true;
            return -Errno.ETIMEDOUT;
        }

        // The end may have come just before the cancellation: then it is what counts.
        return result is -Errno.EINTR or -Errno.ECANCELED ? -Errno.ETIMEDOUT : result;
    }

    /// <summary>Submits what is queued and waits for the completion of one entry; others are dropped.</summary>
    /// <returns>false if it did not come in time</returns>
    private bool Wait(ulong userData, TimeSpan timeout, out int result)
    {
        var began = Stopwatch.GetTimestamp();
        while (true)
        {
            if (TryTake(userData, out result))
                return true;
            var left = timeout - Stopwatch.GetElapsedTime(began);
            var unsubmitted = _tail - Volatile.Read(ref *_kernelHead);
            if (left <= TimeSpan.Zero && unsubmitted == 0)
                return false;

            var error = Enter(unsubmitted, left);
            if (error is 0 or -Errno.EINTR or -Errno.ETIME)
                continue;
            if (error is -Errno.EAGAIN or -Errno.EBUSY && left > TimeSpan.Zero)
            {
                // No memory for the request right now.
                Thread.Sleep(10);
                continue;
            }

            // Never seen. What the kernel took of the queue cannot be told for sure.
            IsGivenUp = true;
            result = error;
            return true;
        }
    }

    private int Enter(uint submit, TimeSpan timeout)
    {
        var left = timeout > TimeSpan.Zero ? timeout : TimeSpan.Zero;
        timespec relative = new() { tv_sec = left.Ticks / TimeSpan.TicksPerSecond, tv_nsec = left.Ticks % TimeSpan.TicksPerSecond * 100 };
        io_uring_getevents_arg argument = new() { ts = (ulong)&relative };
        var result = IoUring.Enter(_fd, submit, 1, IoUring.IORING_ENTER_GETEVENTS | IoUring.IORING_ENTER_EXT_ARG, &argument);
        return Math.Min(result, 0);
    }

    private bool TryTake(ulong userData, out int result)
    {
        result = 0;
        var found = false;
        var head = *_completionHead;
        var tail = Volatile.Read(ref *_completionTail);
        for (; head != tail; head++)
        {
            var completion = _completions + (head & _completionMask);
            if (completion->user_data != userData)
                continue;
            result = completion->res;
            found = true;
        }

        Volatile.Write(ref *_completionHead, head);
        return found;
    }
}
