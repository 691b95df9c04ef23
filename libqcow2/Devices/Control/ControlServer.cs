using System;
using System.Collections.Generic;
using System.Text.Json;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Interop;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Devices.Control;

/// <summary>
/// The control socket of one device: newline-separated JSON requests and replies (docs/control-protocol.md), a
/// thread for each connection, because commands block.
/// </summary>
public sealed class ControlServer : IDisposable
{
    /// <summary>Connections at once: people and monitoring, not clients of the disk.</summary>
    public const int MaxConnections = 16;

    /// <summary>A connection that says nothing for so long gives its place back.</summary>
    private const int IdleMilliseconds = 60_000;
    private const int AnswerMilliseconds = 2_000;

    private readonly int _listener;
    private readonly IDevice _device;
    private readonly ILog _log;
    private readonly Func<ControlRequest, Task<Outcome>> _execute;
    private readonly Action<ControlRequest> _unheard;
    private readonly object _lock = new(); // Not a Lock: closing waits on it.
    private readonly HashSet<int> _connections = [];
    private readonly Thread _acceptor;
    private bool _closing;
    private int _answering;

    /// <param name="path">the socket to make; nothing of that name may exist</param>
    /// <param name="device">what the commands are for</param>
    /// <param name="execute">does what a request asks; after the end of the device the process is expected to end</param>
    /// <param name="unheard">told of a request that was done and whose asker was gone when it was answered</param>
    /// <param name="log">for refused peers</param>
    /// <exception cref="OutcomeException">the socket cannot be made</exception>
    public ControlServer(string path, IDevice device, Func<ControlRequest, Task<Outcome>> execute, Action<ControlRequest> unheard, ILog log)
    {
        _device = device;
        _unheard = unheard;
        _execute = execute;
        _log = log;
        _listener = UnixSocket.Serve(path, MaxConnections);
        if (_listener < 0)
            throw new OutcomeException(OutcomeKind.Failed, $"cannot make the control socket {path}", Errno.Text(_listener),
                System.Text.Encoding.UTF8.GetByteCount(path) > AttachRules.MaxSocketPathBytes
                    ? $"the path is longer than {AttachRules.MaxSocketPathBytes} bytes, use a shorter --name or {RuntimeDirectory.Variable}"
                    : null);
        _acceptor = new Thread(Accept, 256 << 10) { IsBackground = true, Name = "control" };
        _acceptor.Start();
    }

    public void Dispose()
    {
        lock (_lock)
        {
            if (_closing)
                return;
            _closing = true;

            // The command that ended the device is answered before its connection is cut.
            long deadline = Environment.TickCount64 + AnswerMilliseconds;
            while (_answering > 0 && deadline > Environment.TickCount64)
                Monitor.Wait(_lock, (int)Math.Max(1, deadline - Environment.TickCount64));
            foreach (int connection in _connections)
                _ = UnixSocket.Shutdown(connection, UnixSocket.SHUT_RDWR);
        }
        _ = UnixSocket.Shutdown(_listener, UnixSocket.SHUT_RDWR);
        _acceptor.Join();
        _ = Unistd.Close(_listener);
    }

    private void Accept()
    {
        while (true)
        {
            int connection = UnixSocket.Accept(_listener);
            lock (_lock)
            {
                if (_closing)
                {
                    if (connection >= 0)
                        _ = Unistd.Close(connection);
                    return;
                }
            }
            if (connection >= 0)
                Admit(connection);
            else if (connection != -Errno.EINTR)
                Thread.Sleep(100); // Out of descriptors or memory: that passes, or nothing would help.
        }
    }

    private void Admit(int connection)
    {
        bool full;
        lock (_lock)
        {
            full = _connections.Count >= MaxConnections;
            if (!full)
                _connections.Add(connection);
        }
        if (full)
        {
            Reply(connection, Outcome.Refused(OutcomeKind.Busy, "no control connection",
                $"{MaxConnections} others are open", "try again later"));
            _ = Unistd.Close(connection);
            return;
        }
        new Thread(() => Serve(connection), 256 << 10) { IsBackground = true, Name = "control" }.Start();
    }

    private void Serve(int connection)
    {
        try
        {
            if (IsOurs(connection))
                Converse(connection);
        }
        catch (Exception error)
        {
            _log.Error($"control connection: {error.GetType().Name}: {error.Message}");
        }
        lock (_lock)
            _connections.Remove(connection);
        _ = Unistd.Close(connection);
    }

    private bool IsOurs(int connection)
    {
        int result = UnixSocket.Peer(connection, out UnixSocket.Ucred peer);
        if (result == 0 && (peer.uid == 0 || peer.uid == Unistd.EffectiveUser()))
            return true;
        _log.Warning($"refused a control connection of user {peer.uid}, process {peer.pid}");
        return false;
    }

    private void Converse(int connection)
    {
        var reader = new LineReader(connection, ControlRequest.MaxBytes);
        while (true)
        {
            LineReader.Outcome outcome = reader.Next(IdleMilliseconds, out byte[] line);
            if (outcome == LineReader.Outcome.TooLong)
                Reply(connection, Malformed($"a line is longer than {ControlRequest.MaxBytes} bytes"));
            if (outcome != LineReader.Outcome.Line || !Answer(connection, line))
                return;
        }
    }

    private bool Answer(int connection, byte[] line)
    {
        ControlRequest request;
        try
        {
            request = ControlRequest.Parse(line);
        }
        catch (Exception error) when (error is JsonException or FormatException or InvalidOperationException)
        {
            return Reply(connection, Malformed(error.Message.Split('\n')[0]));
        }
        lock (_lock)
            _answering++;
        try
        {
            byte[] reply = Perform(request, out IReadOnlyList<int> descriptors);
            int sent = UnixSocket.SendAll(connection, reply, descriptors);
            foreach (int descriptor in descriptors)
                _ = Unistd.Close(descriptor);
            if (sent < 0)
                _unheard(request);
            return sent == 0;
        }
        finally
        {
            lock (_lock)
            {
                _answering--;
                Monitor.PulseAll(_lock);
            }
        }
    }

    private byte[] Perform(ControlRequest request, out IReadOnlyList<int> descriptors)
    {
        descriptors = [];
        try
        {
            Outcome result = _execute(request).GetAwaiter().GetResult();
            descriptors = result.Descriptors ?? [];
            return ControlReply.ToLine(result, _device, request.Verb == ControlVerb.Status && result.Succeeded);
        }
        catch (Exception error)
        {
            _log.Error($"{request.Verb} failed: {error}");
            return ControlReply.ToLine(Outcome.Refused(OutcomeKind.Failed, "internal error",
                $"{error.GetType().Name}: {error.Message}", "please report this"), null, false);
        }
    }

    private static bool Reply(int connection, Outcome result)
        => Unistd.WriteAll(connection, ControlReply.ToLine(result, null, false)) == 0;

    private static Outcome Malformed(string why)
        => Outcome.Refused(OutcomeKind.Invalid, "malformed control request", why);
}
