using System;
using System.IO;
using System.Runtime.CompilerServices;
using System.Threading;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Uring;

/// <summary>
/// An io_uring of the calling thread. The only place that knows queue memory and its barriers.
/// </summary>
/// <remarks>
/// Invariants: the creating thread is the only one that submits and reaps (SINGLE_ISSUER); queue memory stays
/// mapped until <see cref="Dispose"/>; <c>_tail</c> and <c>_completionHead</c> are our own copies, the kernel's
/// are written once per batch.
/// </remarks>
internal sealed unsafe class Ring : IDisposable
{
    private const uint CompletionsPerSubmission = 4;
    private const uint HeaderBytes = 64;

    // How long a refused submission waits for completions before it is tried again: short, as nothing else may wake the loop.
    private const long RetryNanoseconds = 5_000_000;

    private readonly int _fd;
    private readonly nint _queues;
    private readonly nuint _queuesLength;
    private readonly nint _entriesMemory;
    private readonly nuint _entriesLength;
    private readonly uint* _kernelHead;
    private readonly uint* _kernelTail;
    private readonly uint* _kernelFlags;
    private readonly uint* _completionKernelHead;
    private readonly uint* _completionKernelTail;
    private readonly io_uring_sqe* _entries;
    private readonly io_uring_cqe* _completions;
    private readonly uint _mask;
    private readonly uint _capacity;
    private readonly uint _completionMask;
    private readonly int _enterFd;
    private readonly uint _enterFlags;
    private readonly RingEmulation? _emulation;
    private readonly SubmissionSpill _spill = new();
    private uint _limit;
    private uint _tail;
    private uint _submitted;
    private uint _completionHead;

    /// <summary>A ring without the kernel's: the same queues in plain memory, served by <see cref="RingEmulation"/>.</summary>
    private Ring(uint entries, int workers)
    {
        _fd = _enterFd = -1;
        _capacity = _limit = entries;
        _mask = entries - 1;
        var completions = entries * CompletionsPerSubmission;
        _completionMask = completions - 1;
        _queuesLength = HeaderBytes + (completions * (uint)sizeof(io_uring_cqe));
        _entriesLength = entries * (uint)sizeof(io_uring_sqe);
        var shared = MAP_PRIVATE | MAP_ANONYMOUS;
        _queues = Files.Map(_queuesLength, PROT_READ | PROT_WRITE, shared, -1, 0);
        _entriesMemory = Files.Map(_entriesLength, PROT_READ | PROT_WRITE, shared, -1, 0);
        if (_queues == 0 || _entriesMemory == 0)
        {
            Dispose();
            throw new IOException("no memory for the queues of a loop");
        }

        var header = (uint*)_queues;
        _kernelHead = header;
        _kernelTail = header + 1;
        _kernelFlags = header + 2;
        _completionKernelHead = header + 3;
        _completionKernelTail = header + 4;
        _completions = (io_uring_cqe*)((byte*)_queues + HeaderBytes);
        _entries = (io_uring_sqe*)_entriesMemory;
        _emulation = new RingEmulation(_completions, _completionMask, _completionKernelHead, _completionKernelTail, workers);
    }

    private Ring(int fd, in io_uring_params parameters, bool ofThread)
    {
        _fd = fd;
        Flags = parameters.flags;
        _queuesLength = Math.Max(
            parameters.sq_off.array + (parameters.sq_entries * sizeof(uint)),
            parameters.cq_off.cqes + (parameters.cq_entries * (uint)sizeof(io_uring_cqe)));
        _entriesLength = parameters.sq_entries * (uint)sizeof(io_uring_sqe);
        _queues = Files.Map(_queuesLength, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, IoUring.IORING_OFF_SQ_RING);
        _entriesMemory = Files.Map(_entriesLength, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, IoUring.IORING_OFF_SQES);
        if (_queues == 0 || _entriesMemory == 0)
        {
            Dispose();
            throw new IOException("cannot map the io_uring queues");
        }

        var queues = (byte*)_queues;
        _kernelHead = (uint*)(queues + parameters.sq_off.head);
        _kernelTail = (uint*)(queues + parameters.sq_off.tail);
        _kernelFlags = (uint*)(queues + parameters.sq_off.flags);
        _completionKernelHead = (uint*)(queues + parameters.cq_off.head);
        _completionKernelTail = (uint*)(queues + parameters.cq_off.tail);
        _completions = (io_uring_cqe*)(queues + parameters.cq_off.cqes);
        _entries = (io_uring_sqe*)_entriesMemory;
        _capacity = _limit = parameters.sq_entries;
        _mask = parameters.sq_entries - 1;
        _completionMask = parameters.cq_entries - 1;

        // The index array is the identity for ever: slot i always holds entry i.
        var array = (uint*)(queues + parameters.sq_off.array);
        for (uint i = 0; i < parameters.sq_entries; i++)
            array[i] = i;

        (_enterFd, _enterFlags) = ofThread ? RegisterOwnDescriptor() : (fd, 0);
    }

    /// <summary>IORING_SETUP_* that the kernel accepted.</summary>
    public uint Flags { get; }

    /// <summary>Whether enter uses the registered descriptor of the ring.</summary>
    public bool IsRegistered => _enterFlags != 0;

    /// <summary>Whether the kernel refused a ring, and threads and poll stand in for it.</summary>
    public bool IsEmulated => _emulation is not null;

    /// <summary>Submissions prepared but not yet given to the kernel.</summary>
    public uint Unsubmitted => _tail - _submitted + (uint)_spill.Count;

    /// <summary>For tests: asked before each submission; a negative errno stands for the kernel's answer.</summary>
    internal Func<int>? RefuseSubmission { get; set; }

    public bool HasCompletions => Volatile.Read(ref *_completionKernelTail) != _completionHead;

    /// <summary>Sets up a ring for the calling thread with the best flags the kernel takes.</summary>
    /// <param name="entries">of the submission queue</param>
    /// <param name="ring">the ring</param>
    /// <param name="ofThread">
    /// whether the thread ends with the ring: only then it may keep a faster way to it, which nothing but its end takes away
    /// </param>
    /// <returns>0 and the ring, or a negative errno (EPERM or ENOSYS where io_uring is disabled)</returns>
    public static int Create(uint entries, out Ring? ring, bool ofThread = true)
    {
        const uint basis = IoUring.IORING_SETUP_CLAMP | IoUring.IORING_SETUP_CQSIZE | IoUring.IORING_SETUP_SUBMIT_ALL;
        ReadOnlySpan<uint> attempts =
        [
            basis | IoUring.IORING_SETUP_SINGLE_ISSUER | IoUring.IORING_SETUP_DEFER_TASKRUN,
            basis | IoUring.IORING_SETUP_SINGLE_ISSUER | IoUring.IORING_SETUP_COOP_TASKRUN,
            basis | IoUring.IORING_SETUP_COOP_TASKRUN,
            IoUring.IORING_SETUP_CLAMP | IoUring.IORING_SETUP_CQSIZE,
        ];

        ring = null;
        var result = -Errno.EINVAL;
        foreach (var flags in attempts)
        {
            io_uring_params parameters = default;
            parameters.flags = flags;
            parameters.cq_entries = entries * CompletionsPerSubmission;
            result = IoUring.Setup(entries, &parameters);
            if (result == -Errno.EINVAL)
                continue;
            if (result < 0)
                return result;
            const uint needed = IoUring.IORING_FEAT_SINGLE_MMAP | IoUring.IORING_FEAT_EXT_ARG | IoUring.IORING_FEAT_NODROP;
            if ((parameters.features & needed) != needed)
            {
                Files.Close(result);
                return -Errno.ENOSYS;
            }

            ring = new Ring(result, parameters, ofThread);
            return 0;
        }

        return result;
    }

    /// <summary>Makes a ring that needs no io_uring: slower, but it works in containers that forbid it.</summary>
    public static Ring CreateEmulated(uint entries) => new(entries, workers: RingEmulation.Workers);

    /// <summary>As the other, but without threads: what it is given is done before <see cref="Enter"/> returns.</summary>
    public static Ring CreateInline(uint entries) => new(entries, workers: 0);

    /// <summary>
    /// The next free submission entry, zeroed, to be filled before the next is asked for. Submits what is queued if the queue
    /// is full; what the kernel does not take then waits beside it.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public io_uring_sqe* Next()
    {
        // While entries wait beside the queue the limit is 0: none may overtake them.
        if (_tail - Volatile.Read(ref *_kernelHead) >= _limit)
            return NextBesideFull();
        var entry = _entries + (_tail & _mask);
        _tail++;
        *entry = default;
        return entry;
    }

    /// <summary>Gives the queued entries to the kernel and waits for completions.</summary>
    /// <param name="wait">0 or 1: whether to wait for one completion</param>
    /// <param name="timeoutNanoseconds">how long to wait at most; negative for ever</param>
    /// <returns>0, or a negative errno; EINTR and ETIME are no errors</returns>
    public int Enter(uint wait, long timeoutNanoseconds)
    {
        if (_emulation is not null)
        {
            while (_submitted != _tail)
                _emulation.Submit(_entries[_submitted++ & _mask]);
            *_kernelHead = _submitted;
            return _emulation.Reap(wait > 0, timeoutNanoseconds);
        }

        while (true)
        {
            TakeSpilled();
            Volatile.Write(ref *_kernelTail, _tail);
            var result = RefuseSubmission?.Invoke() ?? 0;
            if (result == 0)
                result = EnterKernel(_tail - _submitted, wait, timeoutNanoseconds);
            if (result >= 0)
                _submitted += (uint)result;
            else
                _submitted = Volatile.Read(ref *_kernelHead); // Submission comes first in the kernel: whatever it took is taken.
            if (result > 0 && Unsubmitted > 0)
                continue;
            switch (result)
            {
                case > 0 or -Errno.ETIME or -Errno.EINTR:
                    return 0;
                case 0 when Unsubmitted == 0:
                    return 0;
                case 0 or -Errno.EBUSY or -Errno.EAGAIN:
                    // Too many completions outstanding (5.11 to 5.18), or no memory right now: the caller reaps and comes again.
                    return wait == 0 || HasCompletions ? 0 : WaitToRetry(timeoutNanoseconds);
                default:
                    return result;
            }
        }
    }

    /// <summary>Takes one completion off the queue.</summary>
    public bool TryTake(out ulong userData, out int result, out uint flags)
    {
        if (Volatile.Read(ref *_completionKernelTail) == _completionHead)
        {
            (userData, result, flags) = (0, 0, 0);
            return false;
        }

        var completion = _completions + (_completionHead & _completionMask);
        (userData, result, flags) = (completion->user_data, completion->res, completion->flags);
        _completionHead++;
        Volatile.Write(ref *_completionKernelHead, _completionHead);
        return true;
    }

    /// <summary>Makes a table of buffers that others fill: the ublk driver puts the pages of requests there.</summary>
    /// <returns>0 or a negative errno</returns>
    public int RegisterSparseBuffers(uint count)
    {
        io_uring_rsrc_register table = new() { nr = count, flags = IoUring.IORING_RSRC_REGISTER_SPARSE };
        return IoUring.Register(_fd, IoUring.IORING_REGISTER_BUFFERS2, &table, (uint)sizeof(io_uring_rsrc_register));
    }

    /// <summary>
    /// Has the kernel signal an eventfd with every completion, for who waits for that elsewhere than in <see cref="Enter"/>: the
    /// ring's own descriptor tells nothing of completions that only the ring's thread can bring in.
    /// </summary>
    /// <returns>0 or a negative errno; 0 without a ring of the kernel's, where nothing completes by itself</returns>
    public int RegisterEventFd(int eventFd) => IsEmulated ? 0 : IoUring.Register(_fd, IoUring.IORING_REGISTER_EVENTFD, &eventFd, 1);

    public bool Overflowed => (Volatile.Read(ref *_kernelFlags) & IoUring.IORING_SQ_CQ_OVERFLOW) != 0;

    public void Dispose()
    {
        if (_queues != 0)
            Files.Unmap(_queues, _queuesLength);
        if (_entriesMemory != 0)
            Files.Unmap(_entriesMemory, _entriesLength);
        _spill.Dispose();
        _emulation?.Dispose();
        if (_fd >= 0)
            Files.Close(_fd);
    }

    /// <summary>The queue is full, or entries wait beside it already.</summary>
    private io_uring_sqe* NextBesideFull()
    {
        if (_spill.Count == 0)
        {
            // An error that stays comes back from the loop's own next call.
            _ = Enter(0, -1);
            if (_tail - Volatile.Read(ref *_kernelHead) < _capacity)
                return Next();
        }

        _limit = 0;
        return _spill.Add();
    }

    /// <summary>Moves entries that wait beside the queue into it, as many as there is room for.</summary>
    private void TakeSpilled()
    {
        if (_spill.Count == 0)
            return;
        while (_tail - Volatile.Read(ref *_kernelHead) < _capacity && _spill.TryTake(out var entry))
            _entries[_tail++ & _mask] = entry;
        if (_spill.Count == 0)
            _limit = _capacity;
    }

    private int EnterKernel(uint submit, uint wait, long timeoutNanoseconds)
    {
        var flags = IoUring.IORING_ENTER_GETEVENTS | _enterFlags;
        if (timeoutNanoseconds < 0 || wait == 0)
            return IoUring.Enter(_enterFd, submit, wait, flags, null);
        timespec timeout = new() { tv_sec = timeoutNanoseconds / 1_000_000_000, tv_nsec = timeoutNanoseconds % 1_000_000_000 };
        io_uring_getevents_arg argument = new() { ts = (ulong)&timeout };
        return IoUring.Enter(_enterFd, submit, wait, flags | IoUring.IORING_ENTER_EXT_ARG, &argument);
    }

    /// <summary>Waits for a completion with nothing to submit: a kernel that takes nothing must not be asked in a circle.</summary>
    private int WaitToRetry(long timeoutNanoseconds)
    {
        var patience = timeoutNanoseconds < 0 ? RetryNanoseconds : Math.Min(timeoutNanoseconds, RetryNanoseconds);
        var result = EnterKernel(0, 1, patience);
        return result is -Errno.ETIME or -Errno.EINTR or -Errno.EBUSY or -Errno.EAGAIN ? 0 : Math.Min(result, 0);
    }

    /// <summary>A registered ring descriptor saves a reference count per enter (5.18); without it the plain one works.</summary>
    private (int Fd, uint Flags) RegisterOwnDescriptor()
    {
        io_uring_rsrc_update update = new() { offset = uint.MaxValue, data = (ulong)_fd };
        return IoUring.Register(_fd, IoUring.IORING_REGISTER_RING_FDS, &update, 1) == 1
            ? ((int)update.offset, IoUring.IORING_ENTER_REGISTERED_RING)
            : (_fd, 0);
    }
}
