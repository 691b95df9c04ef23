using System;
using System.Text.Json;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Devices.Control;

/// <summary>How waiting for an event ended.</summary>
internal enum WatchResult
{
    Event,

    /// <summary>The connection ended, or what came on it is not an event.</summary>
    Lost,

    /// <summary>The alarm was raised.</summary>
    Stopped,
}

/// <summary>A connection that watches a device. Of one thread; an alarm wakes it.</summary>
internal sealed class WatchClient : IDisposable
{
    private readonly int _fd;
    private readonly Alarm _alarm;
    private readonly LineBuffer _buffer = new(ControlReply.MaxBytes);

    private WatchClient(int fd, Alarm alarm)
    {
        _fd = fd;
        _alarm = alarm;
    }

    /// <summary>Why the server refuses to be watched; null if it does not, or has not answered.</summary>
    public string? Refusal { get; private set; }

    /// <returns>null if nobody listens there, accepts connections, or takes the request to watch</returns>
    public static WatchClient? TryConnect(RuntimeDirectory directory, string name, Alarm alarm)
    {
        ArgumentNullException.ThrowIfNull(directory);
        var fd = UnixSocket.Connect(directory.SocketOf(name), wait: false);
        if (fd < 0)
            return null;
        var request = new ControlRequest(ControlVerb.Watch, TimeSpan.Zero, Force: false, AllowShrink: false);
        if (UnixSocket.SendAll(fd, request.ToLine()) == 0)
            return new WatchClient(fd, alarm);
        _ = Unistd.Close(fd);
        return null;
    }

    /// <summary>Waits for the answer to the request.</summary>
    /// <returns>lost too if it was refused</returns>
    public WatchResult Begin()
    {
        try
        {
            if (NextLine(out var result) is not { } line)
                return result;
            var answer = ControlReply.Parse(line).Result;
            if (answer.Succeeded)
                return WatchResult.Event;
            Refusal = OutcomeException.Compose(answer.What ?? "cannot watch it", answer.Why ?? "its server refused", answer.Hint);
        }
        catch (Exception error) when (error is JsonException or FormatException or InvalidOperationException)
        {
            Refusal = "its server does not answer as one of qcow2blk";
        }

        return WatchResult.Lost;
    }

    /// <summary>Waits for the next event that this version knows.</summary>
    public WatchResult Next(out WatchEvent what)
    {
        what = default;
        try
        {
            while (true)
            {
                if (NextLine(out var result) is not { } line)
                    return result;
                if (WatchEvent.Parse(line) is not { } known)
                    continue;
                what = known;
                return WatchResult.Event;
            }
        }
        catch (Exception error) when (error is JsonException or FormatException or InvalidOperationException)
        {
            return WatchResult.Lost;
        }
    }

    public void Dispose() => _ = Unistd.Close(_fd);

    private byte[]? NextLine(out WatchResult result)
    {
        while (true)
        {
            result = _alarm.IsRaised ? WatchResult.Stopped : WatchResult.Lost;
            if (_alarm.IsRaised)
                return null;
            if (_buffer.Take() is { } line)
            {
                result = WatchResult.Event;
                return line;
            }

            if (_buffer.IsTooLong)
                return null;
            _alarm.Wait(_fd, -1);
            if (_alarm.IsRaised || !UnixSocket.WaitReadable(_fd, 0))
                continue;
            var count = Unistd.Read(_fd, _buffer.Room().Span);
            if (count <= 0)
                return null;
            _buffer.Fill(count);
        }
    }
}
