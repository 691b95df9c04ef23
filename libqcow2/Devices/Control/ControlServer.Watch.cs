using System;
using System.Collections.Generic;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Devices.Control;

/// <summary>Connections that watch the device. Such a one takes no more requests, and stays open however long nothing happens.</summary>
internal sealed partial class ControlServer
{
    private int _watchers;

    /// <returns>whether the connection goes on</returns>
    private async Task<bool> AnswerWatchAsync(Socket connection, LineBuffer buffer)
    {
        if (Interlocked.Increment(ref _watchers) > _limits.Watchers)
        {
            Interlocked.Decrement(ref _watchers);
            await SendAsync(connection, ControlReply.ToLine(Outcome.Refused(OutcomeKind.Busy, $"cannot watch {_device.Name}",
                $"{_limits.Watchers} others do", "try again later"), _device, false));
            return true;
        }

        try
        {
            await SendAsync(connection, ControlReply.ToLine(Outcome.Done(), _device, false));
            if (await TellAsync(connection, buffer))
                await SendAsync(connection, Malformed("a connection that watches takes no other request"));
        }
        finally
        {
            Interlocked.Decrement(ref _watchers);
        }

        return false;
    }

    /// <summary>Tells what happens until there is nothing more to tell, or the client goes. One that does not read is cut off.</summary>
    /// <returns>whether it ended because the client said something</returns>
    private async Task<bool> TellAsync(Socket connection, LineBuffer buffer)
    {
        if (!buffer.IsEmpty)
            return true;
        using var watch = _device.Events.Watch();
        var said = SaysSomethingAsync(connection);
        while (true)
        {
            var taking = watch.TakeAsync();
            if (await Task.WhenAny(taking, said) == said)
                return await said;
            var events = await taking;
            if (events.Count == 0)
                return false;
            await SendAsync(connection, Lines(events));
        }
    }

    /// <returns>false if the client goes without a word</returns>
    private static async Task<bool> SaysSomethingAsync(Socket connection)
    {
        try
        {
            return await connection.ReceiveAsync(new byte[1], SocketFlags.None) > 0;
        }
        catch (Exception error) when (IsEnd(error))
        {
            return false;
        }
    }

    private static byte[] Lines(IReadOnlyList<WatchEvent> events)
    {
        var lines = new List<byte>();
        foreach (var what in events)
            lines.AddRange(what.ToLine());
        return [.. lines];
    }
}
