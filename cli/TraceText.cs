using System.Globalization;
using System.Linq;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Cli;

/// <summary>A trace for people: a line for each request, in columns of fixed width, as they come one by one.</summary>
internal static class TraceText
{
    internal const string Head = "        TIME LOOP OPERATION           OFFSET    LENGTH WAY          LATENCY";

    internal static string Line(in TraceLine line)
    {
        if (line.Request is not { } request)
            return $"  {line.Lost} requests not shown: they came too fast";
        var seconds = (line.TimeNanoseconds / 1e9).ToString("0.000000", CultureInfo.InvariantCulture);
        var text = $"{seconds,12} {request.Loop,4} {RequestOperations.Words.Of(request.Operation),-12} {request.Offset,13} "
            + $"{request.Length,9} {RequestWays.Words.Of(request.Way),-9} {Quantity.Nanoseconds(line.LatencyNanoseconds),10}";
        if (request.Waits != RequestWaits.None)
            text += $"  waited for {string.Join(", ", RequestWaitWords.Of(request.Waits))}";
        return request.Error == 0 ? text : $"{text}  {Errno.Text(-request.Error)}";
    }
}
