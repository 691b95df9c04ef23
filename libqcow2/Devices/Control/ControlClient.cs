using System;
using System.Collections.Generic;
using System.Text.Json;
using System.Threading;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Devices.Control;

/// <summary>A connection to the control socket of a device.</summary>
internal sealed class ControlClient : IDisposable
{
    /// <summary>What a server may take beyond the timeout that it was given, to say so.</summary>
    private const int GraceMilliseconds = 10_000;

    /// <summary>How long a server may take to accept connections when many come at once.</summary>
    private const int AcceptMilliseconds = 5_000;

    private readonly int _fd;
    private readonly string _name;
    private readonly LineReader _reader;
    private readonly List<int> _descriptors = [];

    private ControlClient(int fd, string name)
    {
        _fd = fd;
        _name = name;
        _reader = new LineReader(fd, ControlReply.MaxBytes, _descriptors);
    }

    /// <returns>null if nobody listens there: the server died or is still starting</returns>
    /// <exception cref="OutcomeException">the socket is there but may not be used</exception>
    public static ControlClient? TryConnect(RuntimeDirectory directory, string name)
    {
        ArgumentNullException.ThrowIfNull(directory);
        var fd = Connect(directory.SocketOf(name));
        if (fd >= 0)
            return new ControlClient(fd, name);
        if (fd is -Errno.ECONNREFUSED or -Errno.ENOENT)
            return null;
        throw new OutcomeException(OutcomeKind.Failed, $"cannot reach the server of {name}",
            $"{directory.SocketOf(name)}: {Errno.Text(fd)}");
    }

    /// <summary>A server that hangs accepts nobody, and then the kernel lets only some wait: they would wait for ever.</summary>
    private static int Connect(string path)
    {
        var started = Environment.TickCount64;
        int fd;
        while ((fd = UnixSocket.Connect(path, wait: false)) == -Errno.EAGAIN && Environment.TickCount64 - started < AcceptMilliseconds)
            Thread.Sleep(1);
        return fd == -Errno.EAGAIN ? -Errno.ETIMEDOUT : fd;
    }

    /// <summary>Whether the server answers at all.</summary>
    /// <param name="timeout">how long to wait for that</param>
    public bool Greets(TimeSpan timeout) =>
        UnixSocket.SendAll(_fd, new ControlRequest(ControlVerb.Hello, TimeSpan.Zero, Force: false, AllowShrink: false).ToLine()) == 0
            && _reader.Next((int)timeout.TotalMilliseconds, out _) == LineReader.Outcome.Line;

    /// <summary>Asks, and waits for the answer.</summary>
    /// <param name="request">what to ask</param>
    /// <param name="graceMilliseconds">what the server may take beyond the timeout that it was given</param>
    /// <exception cref="OutcomeException">the server died or answers nonsense</exception>
    public ControlReply Ask(ControlRequest request, int graceMilliseconds = GraceMilliseconds)
    {
        var written = UnixSocket.SendAll(_fd, request.ToLine());
        // A server that refuses us answers before it closes: read that even if the request could not be written.
        var patience = request.Timeout + (request.LockTimeout ?? TimeSpan.Zero);
        var wait = (int)Math.Min(patience.TotalMilliseconds + graceMilliseconds, int.MaxValue);
        var outcome = _reader.Next(wait, out var line);
        if (outcome != LineReader.Outcome.Line)
        {
            throw Broken(outcome == LineReader.Outcome.TimedOut ? "it did not answer in time"
                : outcome == LineReader.Outcome.TooLong ? "its answer is too long"
                : written < 0 ? Errno.Text(written) : "it closed the connection");
        }

        try
        {
            return ControlReply.Parse(line);
        }
        catch (Exception error) when (error is JsonException or FormatException or InvalidOperationException)
        {
            throw Broken("its answer is malformed");
        }
    }

    /// <summary>Waits until the server's process has let go of the connection: its last act.</summary>
    /// <returns>false after the time</returns>
    public bool WaitForEnd(TimeSpan timeout) =>
        _reader.Next((int)timeout.TotalMilliseconds, out _) != LineReader.Outcome.TimedOut;

    /// <summary>The descriptors that came with answers so far; the caller's from now on.</summary>
    public IReadOnlyList<int> TakeDescriptors()
    {
        int[] taken = [.. _descriptors];
        _descriptors.Clear();
        return taken;
    }

    public void Dispose()
    {
        foreach (var descriptor in TakeDescriptors())
            _ = Unistd.Close(descriptor);
        _ = Unistd.Close(_fd);
    }

    private OutcomeException Broken(string why) =>
        new(OutcomeKind.Failed, $"lost the server of {_name}", why, "see the system log");
}
