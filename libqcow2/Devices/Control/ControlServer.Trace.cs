using System;
using System.Buffers;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Exports.Traffic;

namespace Qcow2Blk.Devices.Control;

/// <summary>A connection that is told of each request. It takes no more requests, and counts as one that watches.</summary>
internal sealed partial class ControlServer
{
    // Often enough for people, seldom enough for the device.
    private static readonly TimeSpan s_tracePause = TimeSpan.FromMilliseconds(20);

    // What a fast device does in that time, several times over.
    private const int TraceBufferBytes = 1 << 20;

    /// <returns>whether the connection goes on</returns>
    private async Task<bool> AnswerTraceAsync(Socket connection, LineBuffer buffer)
    {
        if (_device.Trace.TryBegin(_device.Loops) is not { } session)
        {
            await SendAsync(connection, ControlReply.ToLine(Outcome.Refused(OutcomeKind.Busy, $"cannot trace {_device.Name}",
                "another client does", "wait until it has ended"), _device, false));
            return true;
        }

        Interlocked.Increment(ref _watchers);
        try
        {
            connection.SendBufferSize = TraceBufferBytes;
            await SendAsync(connection, ControlReply.ToLine(Outcome.Done(), _device, false));
            if (!buffer.IsEmpty || await TraceAsync(connection, session))
                await SendAsync(connection, Malformed("a connection that traces takes no other request"));
        }
        finally
        {
            Interlocked.Decrement(ref _watchers);
            _device.Trace.End(session);
        }

        return false;
    }

    /// <summary>Tells until the client goes, or the server ends.</summary>
    /// <returns>whether it ended because the client said something</returns>
    private async Task<bool> TraceAsync(Socket connection, TraceSession session)
    {
        var said = SaysSomethingAsync(connection);
        var lines = new ArrayBufferWriter<byte>();
        var lost = 0L;
        while (true)
        {
            if (await Task.WhenAny(Task.Delay(s_tracePause), said) == said)
                return await said;
            lines.ResetWrittenCount();
            TraceLine.Write(lines, session.Take(), session.Began);
            if (session.Lost is var all && all > lost)
                TraceLine.WriteLost(lines, all - lost);
            lost = all;
            if (lines.WrittenCount > 0)
                await SendAsync(connection, lines.WrittenMemory);
        }
    }
}
