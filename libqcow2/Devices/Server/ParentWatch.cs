using System;
using System.Threading;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Devices.Server;

/// <summary>Notices the end of the process that started us: an activated server must not outlive its only client.</summary>
internal sealed class ParentWatch : IDisposable
{
    private const int PollMilliseconds = 1000;

    private readonly int _process;
    private readonly Action _ended;
    private volatile bool _stop;

    private ParentWatch(int process, Action ended)
    {
        _process = process;
        _ended = ended;
        new Thread(Watch, 256 << 10) { IsBackground = true, Name = "parent" }.Start();
    }

    /// <returns>null if the parent is the service manager, or the kernel cannot tell</returns>
    public static ParentWatch? Start(Action ended)
    {
        var parent = Unistd.ParentProcess();
        var process = parent > 1 ? Spawn.OpenProcess(parent) : -1;
        if (process < 0)
            return null;
        var watch = new ParentWatch(process, ended);
        // It may have died before we looked: then it was somebody else whom we opened.
        if (Unistd.ParentProcess() != parent)
            ended();
        return watch;
    }

    /// <summary>Stops watching; the thread notices within its next look, nobody waits for it.</summary>
    public void Dispose() => _stop = true;

    private void Watch()
    {
        while (!_stop)
        {
            if (!UnixSocket.WaitReadable(_process, PollMilliseconds))
                continue;
            _ended();
            break;
        }

        _ = Unistd.Close(_process);
    }
}
