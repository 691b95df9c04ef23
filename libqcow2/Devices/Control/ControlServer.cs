using System;
using System.Collections.Generic;
using System.Net.Sockets;
using System.Text.Json;
using System.Threading;
using System.Threading.Tasks;
using DotNext.Threading;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Interop;
using Qcow2Blk.Logging;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Devices.Control;

/// <summary>
/// The control socket of one device: newline-separated JSON requests and replies (docs/control-protocol.md). No connection has a
/// thread: one that stalls, reads nothing or waits for a long command costs the others a place at most.
/// </summary>
internal sealed partial class ControlServer : IDisposable
{
    /// <summary>See <see cref="ControlLimits.Connections"/>.</summary>
    public const int MaxConnections = 16;

    /// <summary>See <see cref="ControlLimits.Watchers"/>.</summary>
    public const int MaxWatchers = 16;

    private static readonly TimeSpan s_acceptPause = TimeSpan.FromMilliseconds(100), s_unreadPause = TimeSpan.FromMilliseconds(10);

    private readonly Socket _listener;
    private readonly IDevice _device;
    private readonly ILog _log;
    private readonly Func<ControlRequest, Task<Outcome>> _execute;
    private readonly Action<ControlRequest> _unheard;
    private readonly Func<ControlRequest, HeldRequests, Task<Outcome>> _hold;
    private readonly ControlLimits _limits;
    private readonly CancellationTokenSource _closing = new();

    // One more than there are, until the server ends: then they count down to nothing.
    private readonly AsyncCountdownEvent _connections = new(1);
    private readonly AsyncCountdownEvent _answers = new(1);
    private readonly Task _accepting;
    private int _closed;

    /// <param name="path">the socket to make; nothing of that name may exist</param>
    /// <param name="device">what the commands are for</param>
    /// <param name="execute">does what a request asks; after the end of the device the process is expected to end</param>
    /// <param name="unheard">told of a request that was done and whose asker was gone when it was answered</param>
    /// <param name="log">for refused peers</param>
    /// <param name="limits">null for those of the protocol</param>
    /// <param name="hold">holds requests, and ends when they go on; null if they cannot be held</param>
    /// <exception cref="OutcomeException">the socket cannot be made</exception>
    public ControlServer(string path, IDevice device, Func<ControlRequest, Task<Outcome>> execute, Action<ControlRequest> unheard, ILog log,
        ControlLimits? limits = null, Func<ControlRequest, HeldRequests, Task<Outcome>>? hold = null)
    {
        _hold = hold ?? ((_, _) => Task.FromResult(
            Outcome.Refused(OutcomeKind.Invalid, "cannot hold requests", "this server does not do that")));
        _device = device;
        _unheard = unheard;
        _execute = execute;
        _log = log;
        _limits = limits ?? new ControlLimits();
        // Not made by the class: only here is its file never open to others.
        var listener = UnixSocket.Serve(path, _limits.Connections);
        if (listener < 0)
        {
            throw new OutcomeException(OutcomeKind.Failed, $"cannot make the control socket {path}", Errno.Text(listener),
                System.Text.Encoding.UTF8.GetByteCount(path) > AttachRules.MaxSocketPathBytes
                    ? $"the path is longer than {AttachRules.MaxSocketPathBytes} bytes, use a shorter --name or {RuntimeDirectory.Variable}"
                    : null);
        }

        _listener = new Socket(new SafeSocketHandle(listener, ownsHandle: true));
        _accepting = Task.Run(AcceptAsync);
    }

    /// <summary>Ends in a bounded time, whatever clients and commands do.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _closed, 1) == 0)
            CloseAsync().GetAwaiter().GetResult();
    }

    private async Task CloseAsync()
    {
        // The command that ended the device is answered before its connection is cut, and whoever watches it hears the last.
        _device.Events.Dispose();
        _answers.Signal();
        await _answers.WaitAsync(_limits.End);
        await _closing.CancelAsync();
        await _accepting;
        _listener.Dispose();
        _connections.Signal();
        await _connections.WaitAsync(_limits.End);
    }

    private async Task AcceptAsync()
    {
        while (!_closing.IsCancellationRequested)
        {
            try
            {
                Admit(await _listener.AcceptAsync(_closing.Token));
            }
            catch (OperationCanceledException)
            {
                return;
            }
            catch (SocketException)
            {
                // Out of descriptors or memory: that passes, or nothing would help.
                await Task.Delay(s_acceptPause, _closing.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private void Admit(Socket connection)
    {
        if (_connections.CurrentCount - Volatile.Read(ref _watchers) <= _limits.Connections)
        {
            _connections.AddCount();
            _ = Task.Run(() => ServeAsync(connection));
            return;
        }
        // Into an empty buffer: this waits for nothing.
        _ = UnixSocket.SendAll((int)connection.Handle, ControlReply.ToLine(Outcome.Refused(OutcomeKind.Busy, "no control connection",
            $"{_limits.Connections} others are open", "try again later"), null, false));
        connection.Dispose();
    }

    private async Task ServeAsync(Socket connection)
    {
        try
        {
            using var cut = _closing.Token.UnsafeRegister(static state => ((Socket)state!).Dispose(), connection);
            // What a client does not read fills this, and not what else the machine would give.
            connection.SendBufferSize = _limits.ReplyBytes;
            if (IsOurs(connection))
                await ConverseAsync(connection);
        }
        catch (Exception error) when (IsEnd(error))
        {
            // It went, stalled, or the server ends.
        }
        catch (Exception error)
        {
            _log.Error($"control connection: {error.GetType().Name}: {error.Message}");
        }
        finally
        {
            connection.Dispose();
            _connections.Signal();
        }
    }

    private bool IsOurs(Socket connection)
    {
        var result = UnixSocket.Peer((int)connection.Handle, out var peer);
        if (result == 0 && (peer.uid == 0 || peer.uid == Unistd.EffectiveUser()))
            return true;
        _log.Warning($"refused a control connection of user {peer.uid}, process {peer.pid}");
        return false;
    }

    private async Task ConverseAsync(Socket connection)
    {
        var buffer = new LineBuffer(ControlRequest.MaxBytes);
        do
        {
            if (!await FillAsync(connection, buffer))
                return;
            if (buffer.IsTooLong)
            {
                await SendAsync(connection, Malformed($"a line is longer than {ControlRequest.MaxBytes} bytes"));
                return;
            }
        }
        while (await AnswerAsync(connection, buffer));
    }

    /// <summary>Receives until a line has come whole, or one is too long.</summary>
    /// <returns>false at the end</returns>
    private async Task<bool> FillAsync(Socket connection, LineBuffer buffer)
    {
        using var patience = new CancellationTokenSource(_limits.Idle);
        while (!buffer.HasLine && !buffer.IsTooLong)
        {
            var count = await connection.ReceiveAsync(buffer.Room(), SocketFlags.None, patience.Token);
            if (count == 0)
                return false;
            buffer.Fill(count);
        }

        return true;
    }

    /// <returns>whether the connection goes on</returns>
    private async Task<bool> AnswerAsync(Socket connection, LineBuffer buffer)
    {
        ControlRequest request;
        try
        {
            request = ControlRequest.Parse(buffer.Take()!);
        }
        catch (Exception error) when (error is JsonException or FormatException or InvalidOperationException)
        {
            await SendAsync(connection, Malformed(error.Message.Split('\n')[0]));
            return true;
        }

        if (!_answers.TryAddCount())
            return false;
        try
        {
            if (request.Verb == ControlVerb.Watch)
                return await AnswerWatchAsync(connection, buffer);
            if (request.Verb == ControlVerb.Trace)
                return await AnswerTraceAsync(connection, buffer);
            if (request.Verb == ControlVerb.Hold)
                return await AnswerHoldAsync(connection, buffer, request);
            (var reply, var descriptors) = await PerformAsync(request);
            var heard = await TryReplyAsync(connection, reply, descriptors);
            if (!heard)
                _unheard(request);
            return heard;
        }
        finally
        {
            _answers.Signal();
        }
    }

    private async Task<(byte[] Reply, IReadOnlyList<int> Descriptors)> PerformAsync(ControlRequest request)
    {
        IReadOnlyList<int> descriptors = [];
        try
        {
            var result = await _execute(request);
            descriptors = result.Descriptors ?? [];
            return (ControlReply.ToLine(result, _device, request.Verb == ControlVerb.Status && result.Succeeded,
                request.Verb == ControlVerb.Metrics && result.Succeeded), descriptors);
        }
        catch (Exception error)
        {
            _log.Error($"{request.Verb} failed: {error}");
            return (ControlReply.ToLine(Outcome.Refused(OutcomeKind.Failed, "internal error",
                $"{error.GetType().Name}: {error.Message}", "please report this"), null, false), descriptors);
        }
    }

    /// <param name="descriptors">go with the reply, and are closed here</param>
    /// <returns>false if nobody reads it</returns>
    private async Task<bool> TryReplyAsync(Socket connection, byte[] reply, IReadOnlyList<int> descriptors)
    {
        try
        {
            // Such a reply is short: a client that leaves no room for it reads none.
            if (descriptors.Count > 0)
                return UnixSocket.SendAll((int)connection.Handle, reply, descriptors) == 0;
            await SendAsync(connection, reply);
            return true;
        }
        catch (Exception error) when (IsEnd(error))
        {
            return false;
        }
        finally
        {
            foreach (var descriptor in descriptors)
                _ = Unistd.Close(descriptor);
        }
    }

    /// <summary>
    /// Not by the class: that raises SIGPIPE if the client has gone, and the process may be another program's, which it would end.
    /// Few clients ever leave a reply unread, so what is left then is tried again now and then.
    /// </summary>
    private async Task SendAsync(Socket connection, ReadOnlyMemory<byte> bytes)
    {
        using var patience = new CancellationTokenSource(_limits.Reply);
        while (true)
        {
            var sent = Send(connection, bytes.Span);
            if (sent < 0 && sent != -Errno.EAGAIN)
                throw new SocketException(-sent);
            bytes = bytes[Math.Max(sent, 0)..];
            if (bytes.IsEmpty)
                return;
            await Task.Delay(s_unreadPause, patience.Token);
        }
    }

    /// <summary>Sends what there is room for.</summary>
    /// <returns>how many bytes, or a negative errno</returns>
    /// <exception cref="ObjectDisposedException">the connection was closed: its number may be another file's</exception>
    private static int Send(Socket connection, ReadOnlySpan<byte> bytes)
    {
        var isHeld = false;
        try
        {
            connection.SafeHandle.DangerousAddRef(ref isHeld);
            return UnixSocket.TrySend((int)connection.SafeHandle.DangerousGetHandle(), bytes);
        }
        finally
        {
            if (isHeld)
                connection.SafeHandle.DangerousRelease();
        }
    }

    private static bool IsEnd(Exception error) => error is SocketException or ObjectDisposedException or OperationCanceledException;

    private static byte[] Malformed(string why) =>
        ControlReply.ToLine(Outcome.Refused(OutcomeKind.Invalid, "malformed control request", why), null, false);
}
