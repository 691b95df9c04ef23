using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Runtime.CompilerServices;
using System.Threading;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Uring;

/// <summary>
/// A thread with a ring: submits, waits, delivers completions, runs what was posted. Sockets and image files of
/// one queue share it, so that a mapped request costs no other thread's wake-up.
/// </summary>
internal sealed partial class EventLoop : LoopScheduler, IDisposable
{
    /// <summary>Set to "off", this environment variable makes loops do without io_uring.</summary>
    public const string EmulationVariable = "QCOW2BLK_IO_URING";

    private const uint Entries = 512;
    private const int ForeignPerTurn = 256;
    private const int FailurePause = 10;

    private readonly OffloadPool? _offload;
    private readonly List<IRingOperation> _operations = [];
    private readonly Stack<int> _freeOperations = new();
    private readonly ConcurrentQueue<Action> _foreign = new();
    private readonly Thread? _thread;
    private readonly ManualResetEventSlim _started = new();
    private OffloadOperation? _freeOffloads;
    private readonly WakeOperation _wake;
    private Action[] _posted = new Action[64];
    private int _postedHead;
    private int _postedCount;
    private Ring? _ring;
    private Exception? _failure;
    private int _eventFd = -1;
    private int _wakePending;
    private bool _stopping;
    private long _turnTime;

    /// <param name="index">the loop's number among those that serve one device; 0 is the home loop</param>
    /// <param name="offload">the threads that inflate; shared by all loops</param>
    public EventLoop(int index, OffloadPool offload)
        : this(offload)
    {
        Index = index;
        _thread = new Thread(Run, 512 * 1024) { IsBackground = true, Name = $"qcow2blk-loop{index}" };
    }

    private EventLoop(OffloadPool? offload)
    {
        _offload = offload;
        _wake = new WakeOperation(this);
    }

    public int Index { get; }

    /// <summary>IORING_SETUP_* in use, for the status report.</summary>
    public uint RingFlags { get; private set; }

    /// <summary>Called whenever the loop has nothing to do for a while (about 100 ms).</summary>
    public Action? Idle { get; set; }

    /// <summary>
    /// Told of an exception that nobody awaits, which is a bug: the loop then goes on. Without it the process ends, as data may
    /// be at stake; a process that is not ours must not.
    /// </summary>
    public Action<Exception>? Failed { get; init; }

    /// <summary>Whether io_uring is not to be had here, and threads do its work.</summary>
    public bool IsEmulated => _ring is { IsEmulated: true };

    public static new EventLoop Current =>
        LoopScheduler.Current as EventLoop ?? throw new InvalidOperationException("this thread runs no event loop");

    internal Ring Ring => _ring!;

    /// <summary>Kept for reuse by what reads and writes files on this loop.</summary>
    internal LoopTaskSource<int>? FreeFileOperations { get; set; }

    /// <summary>A timestamp of this round: taken once, when first asked for. On the loop.</summary>
    public long TurnTime => _turnTime != 0 ? _turnTime : _turnTime = Stopwatch.GetTimestamp();

    /// <summary>Starts the thread; throws when the kernel refuses a ring.</summary>
    public void Start()
    {
        _thread!.Start();
        _started.Wait();
        if (_failure is not null)
            throw new IOException(_failure.Message, _failure) { HResult = _failure.HResult };
    }

    /// <summary>Ends the loop after what is posted now, and waits for the thread. Not from the loop itself.</summary>
    public void Dispose()
    {
        if (_thread is null)
        {
            End();
        }
        else if (_thread.IsAlive)
        {
            PostFromAnyThread(() => _stopping = true);
            _thread.Join();
        }

        _started.Dispose();
    }

    public override void Post(Action work)
    {
        if (_postedCount == _posted.Length)
            GrowPosted();
        _posted[(_postedHead + _postedCount++) & (_posted.Length - 1)] = work;
    }

    public override void PostFromAnyThread(Action work)
    {
        _foreign.Enqueue(work);
        if (Interlocked.Exchange(ref _wakePending, 1) == 0)
            SignalEvent();
    }

    /// <summary>Without threads for it the work is done here and now.</summary>
    public override LoopTask<int> OffloadAsync(IOffloadWork work) =>
        _offload is null ? new LoopTask<int>(work.Execute()) : OffloadOperation.Start(this, _offload, work);

    public override void Unobserved(Exception error)
    {
        if (Failed is null)
            base.Unobserved(error);
        else
            Failed(error);
    }

    /// <summary>Gives an operation the number under which its completions arrive. It keeps it until <see cref="Unregister"/>.</summary>
    public int Register(IRingOperation operation)
    {
        if (_freeOperations.TryPop(out var index))
        {
            _operations[index] = operation;
            return index;
        }

        _operations.Add(operation);
        return _operations.Count - 1;
    }

    public void Unregister(int index)
    {
        _operations[index] = NoOperation.Instance;
        _freeOperations.Push(index);
    }

    private void Run()
    {
        try
        {
            Begin();
        }
        catch (Exception error)
        {
            _failure = error;
            _started.Set();
            return;
        }

        _started.Set();
        while (!_stopping)
            TurnGuarded(mayWait: true);
        End();
        Enter(null);
    }

    /// <summary>Where a failure is told to somebody, the loop survives it.</summary>
    private void TurnGuarded(bool mayWait)
    {
        try
        {
            Turn(mayWait);
        }
        catch (Exception error) when (Failed is not null)
        {
            Failed(error);

            // If it is the ring that fails, it does so each time.
            Thread.Sleep(FailurePause);
        }
    }

    private void End()
    {
        _watch?.Dispose();
        _ring?.Dispose();
        if (_eventFd >= 0)
            Files.Close(_eventFd);
        Buffers.Dispose();
    }

    private void Begin()
    {
        Threads.SetName($"qb-loop{Index}");
        TouchStack();
        Prepare(Ring.CreateEmulated);
        Enter(this);
        _wake.Arm();
    }

    private void Prepare(Func<uint, Ring> emulate)
    {
        _ring = MakeRing(emulate);
        RingFlags = _ring.Flags;
        _eventFd = Files.EventFd();
        if (_eventFd < 0)
            throw new IOException($"cannot make an eventfd: {Errno.Text(_eventFd)}", -_eventFd);
    }

    /// <summary>Has the kernel give the stack its memory now: what serves a block device must not need more under pressure.</summary>
    private static unsafe void TouchStack()
    {
        const int bytes = 128 * 1024, page = 4096;
        var stack = stackalloc byte[bytes];
        for (var i = 0; i < bytes; i += page)
            Volatile.Write(ref stack[i], 1);
    }

    private Ring MakeRing(Func<uint, Ring> emulate)
    {
        if (Environment.GetEnvironmentVariable(EmulationVariable) == "off")
            return emulate(Entries);
        var result = Ring.Create(Entries, out var ring, ofThread: _thread is not null);
        return result switch
        {
            0 => ring!,
            -Errno.EPERM or -Errno.EACCES or -Errno.ENOSYS or -Errno.EINVAL => emulate(Entries),
            _ => throw new IOException($"cannot set up io_uring: {Errno.Text(result)}", -result),
        };
    }

    /// <summary>One round: run what was posted, submit, wait if there is nothing to run, deliver completions.</summary>
    private void Turn(bool mayWait)
    {
        RunPosted();
        RunForeign();
        // What was just run may have been the order to stop: nobody would wake the loop after that.
        var wait = mayWait && !_stopping && _postedCount == 0 && !_ring!.HasCompletions && PrepareToSleep();
        var result = _ring!.Enter(wait ? 1u : 0u, wait ? NextTimeout() : 0);
        if (result < 0)
            throw new IOException($"io_uring_enter: {Errno.Text(result)}");
        Volatile.Write(ref _wakePending, 1);
        _turnTime = 0;
        var delivered = Deliver();
        RunTimers(idle: (wait || !mayWait) && delivered == 0);
    }

    /// <summary>Announces the sleep, then looks again: a poster either sees the announcement or its work is seen here.</summary>
    private bool PrepareToSleep()
    {
        Interlocked.Exchange(ref _wakePending, 0);
        return _foreign.IsEmpty;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private int Deliver()
    {
        var count = 0;

        // Bounded, so that a stream of inline completions cannot keep posted work waiting for ever.
        while (count < 1024 && _ring!.TryTake(out var userData, out var result, out var flags))
        {
            count++;
            if (userData != ulong.MaxValue)
                _operations[(int)userData].Completed(result, flags);
        }

        return count;
    }

    private void RunPosted()
    {
        // Only what was there at the start: work that posts itself again must not starve the ring.
        for (var i = _postedCount; i > 0; i--)
        {
            var work = _posted[_postedHead];
            _postedHead = (_postedHead + 1) & (_posted.Length - 1);
            _postedCount--;
            work();
        }
    }

    private void RunForeign()
    {
        // Bounded, as others keep adding: this loop's own completions must come to their turn.
        for (var i = 0; i < ForeignPerTurn && _foreign.TryDequeue(out var work); i++)
            work();
    }

    private void GrowPosted()
    {
        var bigger = new Action[_posted.Length * 2];
        for (var i = 0; i < _postedCount; i++)
            bigger[i] = _posted[(_postedHead + i) & (_posted.Length - 1)];
        _posted = bigger;
        _postedHead = 0;
    }

    private unsafe void SignalEvent()
    {
        ulong one = 1;
        Files.WriteStream(_eventFd, &one, sizeof(ulong));
    }

    /// <summary>Waits for the eventfd by which other threads wake the loop.</summary>
    private sealed class WakeOperation(EventLoop loop) : IRingOperation
    {
        private int _index = -1;

        public unsafe void Arm()
        {
            if (_index < 0)
                _index = loop.Register(this);
            var entry = loop.Ring.Next();
            entry->opcode = IoUring.IORING_OP_POLL_ADD;
            entry->fd = loop._eventFd;
            entry->rw_flags = 1; // POLLIN
            entry->user_data = (ulong)_index;
        }

        public unsafe void Completed(int result, uint flags)
        {
            ulong count;
            Files.ReadStream(loop._eventFd, &count, sizeof(ulong));
            Arm();
        }
    }

    private sealed class NoOperation : IRingOperation
    {
        public static readonly NoOperation Instance = new();

        public void Completed(int result, uint flags)
        {
            // A late completion of an operation that was given up (a cancelled receive): nothing waits for it.
        }
    }

    /// <summary>Work on a helper thread; the completion comes back as posted work.</summary>
    private sealed class OffloadOperation : LoopTaskSource<int>
    {
        private readonly Action _finish;
        private OffloadOperation? _next;
        private int _value;

        private OffloadOperation(EventLoop loop)
        {
            Loop = loop;
            _finish = () => SetResult(_value);
        }

        public IOffloadWork? Work { get; private set; }

        private EventLoop Loop { get; }

        public static LoopTask<int> Start(EventLoop loop, OffloadPool pool, IOffloadWork work)
        {
            var operation = loop._freeOffloads;
            if (operation is null)
                operation = new OffloadOperation(loop);
            else
                loop._freeOffloads = operation._next;
            operation.Work = work;
            pool.Enqueue(operation.Run);
            return operation.Task;
        }

        protected override void Recycle()
        {
            Work = null;
            _next = Loop._freeOffloads;
            Loop._freeOffloads = this;
        }

        private Action Run => _run ??= () =>
        {
            _value = Work!.Execute();
            Loop.PostFromAnyThread(_finish);
        };

        private Action? _run;
    }
}
