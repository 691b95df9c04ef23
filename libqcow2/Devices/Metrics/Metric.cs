using System;

namespace Qcow2Blk.Devices.Metrics;

/// <summary>What kind of number a metric is.</summary>
internal enum MetricType
{
    /// <summary>It rises and falls.</summary>
    Gauge,

    /// <summary>It only rises, and begins at 0 with each server.</summary>
    Counter,

    /// <summary>Counters of what took no longer than a bound, for several bounds.</summary>
    Histogram,
}

/// <summary>One row of docs/metrics.md.</summary>
/// <param name="Name">of the family: samples of a counter have "_total" behind it</param>
/// <param name="Type">what kind of number it is</param>
/// <param name="Unit">what the name ends in; empty where things are counted</param>
/// <param name="Help">one sentence without a full stop</param>
/// <param name="Read">finds its samples in the status of a device; none if the device has nothing of the kind</param>
internal sealed record Metric(string Name, MetricType Type, string Unit, string Help, Action<StatusReader, SampleList> Read)
{
    /// <summary>What the name of a simple sample has behind that of the family.</summary>
    public string Suffix => Type == MetricType.Counter ? "_total" : "";
}
