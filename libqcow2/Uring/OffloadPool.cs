using System;
using System.Collections.Generic;
using System.Threading;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Uring;

/// <summary>Threads for computing work. They start when there is work for the first time.</summary>
internal sealed class OffloadPool : IDisposable
{
    private readonly object _gate = new();
    private readonly Queue<Action> _work = new();
    private readonly List<Thread> _threads = [];
    private readonly int _limit;
    private int _idle;
    private bool _stopping;

    /// <param name="limit">most threads to run at once</param>
    public OffloadPool(int limit) => _limit = Math.Max(1, limit);

    /// <summary>Whether a block device of this host waits for the work: then the kernel must not make the threads wait for that
    /// device.</summary>
    public bool ServesBlockDevice { get; init; }

    public void Enqueue(Action work)
    {
        lock (_gate)
        {
            _work.Enqueue(work);
            if (_idle >= _work.Count)
                Monitor.Pulse(_gate);
            else if (_threads.Count < _limit)
                StartThread();
            else
                Monitor.Pulse(_gate);
        }
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _stopping = true;
            Monitor.PulseAll(_gate);
        }

        foreach (var thread in _threads)
            thread.Join();
    }

    private void StartThread()
    {
        var thread = new Thread(Run, 256 * 1024) { IsBackground = true, Name = "qcow2blk-inflate" };
        _threads.Add(thread);
        thread.Start();
    }

    private void Run()
    {
        Threads.SetName("qb-inflate");
        if (ServesBlockDevice)
            Threads.SetIoFlusher();
        while (true)
        {
            Action work;
            lock (_gate)
            {
                while (_work.Count == 0)
                {
                    if (_stopping)
                        return;
                    _idle++;
                    Monitor.Wait(_gate);
                    _idle--;
                }

                work = _work.Dequeue();
            }

            work();
        }
    }
}
