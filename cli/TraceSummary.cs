using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Exports.Traffic;

namespace Qcow2Blk.Cli;

/// <summary>What a trace adds up to, by operation and way.</summary>
internal sealed class TraceSummary
{
    private readonly Dictionary<(RequestOperation Operation, RequestWay Way), Sum> _sums = [];
    private readonly Stopwatch _clock = Stopwatch.StartNew();
    private long _lost;

    /// <summary>Requests that were shown.</summary>
    internal long Shown { get; private set; }

    /// <summary>Requests that were not slow enough to be shown.</summary>
    internal long PassedOver { get; set; }

    internal TimeSpan Elapsed => _clock.Elapsed;

    internal void Add(in TraceLine line)
    {
        if (line.Request is not { } request)
        {
            _lost += line.Lost;
            return;
        }

        Shown++;
        var key = (request.Operation, request.Way);
        var sum = _sums.GetValueOrDefault(key);
        _sums[key] = new Sum(sum.Count + 1, sum.Bytes + request.Length, sum.Nanoseconds + line.LatencyNanoseconds,
            Math.Max(sum.Longest, line.LatencyNanoseconds));
    }

    public override string ToString()
    {
        var table = new Table("OPERATION", "WAY", "REQUESTS", "BYTES", "MEAN", "LONGEST");
        foreach (((var operation, var way), var sum) in _sums.OrderBy(pair => pair.Key))
        {
            table.Add(RequestOperations.Words.Of(operation), RequestWays.Words.Of(way), $"{sum.Count}", Quantity.Bytes(sum.Bytes),
                Quantity.Nanoseconds((double)sum.Nanoseconds / sum.Count), Quantity.Nanoseconds(sum.Longest));
        }

        FormattableString said = $"{Shown} requests in {Elapsed.TotalSeconds:0.0} s";
        var text = FormattableString.Invariant(said);
        if (PassedOver > 0)
            text += $", {PassedOver} faster ones";
        if (_lost > 0)
            text += $", {_lost} not shown as they came too fast";
        return Shown == 0 ? $"{text}\n" : $"{text}\n{table}";
    }

    private readonly record struct Sum(long Count, long Bytes, long Nanoseconds, long Longest);
}
