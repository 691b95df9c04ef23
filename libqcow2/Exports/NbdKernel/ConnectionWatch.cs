using System;
using System.Threading;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Interop;
using Qcow2Blk.Logging;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Exports.NbdKernel;

/// <summary>
/// A thread that sees connections of the kernel end, and gives it new ones: when requests were held for longer than its
/// timeout (a suspend), as often as that happens.
/// </summary>
internal sealed class ConnectionWatch : IDisposable
{
    // The kernel marks a connection dead after it shut it down, and drops a new one that comes in between.
    private const int SettleMilliseconds = 100;
    private const int LongestRetryMilliseconds = 1000;
    private const int LookMilliseconds = 500;
    private const int StopSeconds = 90;
    private const int StuckWarningMilliseconds = 60_000;

    private readonly KernelConnections _connections;
    private readonly INbdAttachment _attachment;
    private readonly NegotiatedSession _session;
    private readonly ILog _log;
    private readonly Thread _thread;
    private readonly Lock _wakeLock = new();
    private int _wake;
    private NbdNetlink? _events;
    private volatile bool _stopping;
    private volatile bool _replaceable;
    private bool _disposed;
    private long _lastLook;
    private long _lastStuckWarning = -StuckWarningMilliseconds;
    private int _retryMilliseconds = SettleMilliseconds;

    public ConnectionWatch(KernelConnections connections, INbdAttachment attachment, NegotiatedSession session, ILog log)
    {
        _connections = connections;
        _attachment = attachment;
        _session = session;
        _log = log;
        _wake = Files.EventFd();
        if (_wake < 0)
            throw new ExportRefusedException(ExportRefusal.Failed, $"cannot make an eventfd: {Errno.Text(_wake)}");
        _connections.Replaceable = Wake;
        _connections.CameIntoUse = Signal;
        _thread = new Thread(Run) { IsBackground = true };
    }

    public void Start()
    {
        // Without these events the shutdown of our end says the same, a little earlier than the kernel is ready for it.
        if (NbdNetlink.Open(out _events) == 0 && _events!.Subscribe() < 0)
        {
            _events.Dispose();
            _events = null;
        }

        _thread.Start();
    }

    public void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        _stopping = true;
        Signal();
        if (_thread.IsAlive && !_thread.Join(TimeSpan.FromSeconds(StopSeconds)))
            return; // It hangs in the kernel: what it uses stays open.
        _connections.Replaceable = null;
        _connections.CameIntoUse = null;
        _events?.Dispose();
        lock (_wakeLock)
        {
            Files.Close(_wake);
            _wake = -1;
        }
    }

    private void Run()
    {
        Threads.SetName("qcow2blk-nbdmon");
        while (!_stopping)
        {
            var linkDead = Wait(_replaceable ? _retryMilliseconds : _connections.AnyUnproven ? LookMilliseconds : -1);
            if (_stopping)
                return;
            _connections.LookForShutDown();
            LookForStuck();
            if (_replaceable && !linkDead && _retryMilliseconds == SettleMilliseconds)
                Thread.Sleep(SettleMilliseconds);
            if (_replaceable && !_stopping)
                Replace();
        }
    }

    /// <summary>At most once in a while, whatever wakes us.</summary>
    private void LookForStuck()
    {
        var now = Environment.TickCount64;
        if (now - _lastLook < LookMilliseconds)
            return;
        _lastLook = now;
        if (!_connections.EndOneThatKeepsOthersFromReceiving() || now - _lastStuckWarning < StuckWarningMilliseconds)
            return;
        _lastStuckWarning = now;
        _log.Warning(
            $"{_attachment.Device.Path}: the kernel does not receive on a connection, as its receiver waits behind another: replacing"
                + $" that one once it is idle");
    }

    private void Replace()
    {
        _replaceable = false;
        var error = _connections.Open(_session, out var kernelEnds);
        if (error == 0 && kernelEnds.Length == 0)
            return;
        if (error == 0)
            error = _attachment.Reconnect(kernelEnds);
        if (error != -Errno.ETIMEDOUT)
        {
            foreach (var fd in kernelEnds)
                Files.Close(fd);
        }

        if (error == 0)
        {
            _log.Info($"{_attachment.Device.Path}: gave the kernel {kernelEnds.Length} new connections to replace those it gave up");
            _retryMilliseconds = SettleMilliseconds;
            return;
        }

        _retryMilliseconds = Math.Min(2 * _retryMilliseconds, LongestRetryMilliseconds);
        if (_attachment.Device.IsConfigured)
        {
            _log.Warning($"{_attachment.Device.Path}: the kernel did not take new connections: {Errno.Text(error)}");
            _replaceable = true;
            return;
        }

        _stopping = true;
        _log.Error($"{_attachment.Device.Path} is gone: another program disconnected it");
    }

    /// <summary>A connection has ended. Any thread.</summary>
    private void Wake()
    {
        _replaceable = true;
        Signal();
    }

    private unsafe void Signal()
    {
        ulong one = 1;
        lock (_wakeLock)
        {
            // A connection may call that looked for us before we were disposed: the number may be another file's by now.
            if (_wake >= 0)
                Files.WriteStream(_wake, &one, sizeof(ulong));
        }
    }

    /// <returns>whether the kernel said that a connection is dead</returns>
    private unsafe bool Wait(int milliseconds)
    {
        var entries = stackalloc pollfd[_connections.Count + 2];
        entries[0] = new pollfd { fd = _wake, events = POLLIN };
        entries[1] = new pollfd { fd = _events?.Socket ?? -1, events = POLLIN };
        var count = _connections.FillPoll(new Span<pollfd>(entries + 2, _connections.Count));
        if (Poll.Wait(entries, count + 2, milliseconds) <= 0)
            return false;
        if (entries[0].revents != 0)
        {
            ulong value;
            Files.ReadStream(_wake, &value, sizeof(ulong));
        }

        return entries[1].revents != 0 && _events!.ReadLinkDead(_attachment.Device.Index);
    }
}
