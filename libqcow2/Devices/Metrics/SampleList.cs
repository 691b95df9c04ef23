using System.Collections.Generic;
using System.Linq;

namespace Qcow2Blk.Devices.Metrics;

/// <summary>A number of a metric.</summary>
/// <param name="Name">that of the metric, with what its type adds</param>
/// <param name="Labels">in the order in which they are printed</param>
/// <param name="Value">the number</param>
internal sealed record Sample(string Name, IReadOnlyList<(string Name, string Value)> Labels, double Value);

/// <summary>Takes the samples that a metric has of one device after the other.</summary>
internal sealed class SampleList(Metric metric)
{
    private readonly List<Sample> _samples = [];
    private string _device = "";

    public Metric Metric { get; } = metric;

    public IReadOnlyList<Sample> Samples => _samples;

    /// <summary>Reads one more device.</summary>
    public void Read(StatusReader status)
    {
        _device = status.Text("name") ?? "";
        Metric.Read(status, this);
    }

    /// <param name="value">null if the device has no such number</param>
    /// <param name="labels">besides the name of the device</param>
    public void Add(double? value, params (string Name, string Value)[] labels)
    {
        if (value is { } number)
            Add(Metric.Suffix, number, labels);
    }

    /// <summary>Buckets with what lies below each bound, as their readers want it.</summary>
    /// <param name="bounds">in seconds, rising</param>
    /// <param name="counts">of each bucket by itself; a last one without a bound may follow</param>
    /// <param name="sum">of everything that was counted</param>
    /// <param name="label">what was counted</param>
    public void AddHistogram(double[] bounds, double[] counts, double? sum, (string Name, string Value) label)
    {
        if (bounds.Length == 0 || counts.Length < bounds.Length || sum is not { } total)
            return;
        double below = 0;
        for (var i = 0; i < bounds.Length; i++)
        {
            below += counts[i];
            Add("_bucket", below, label, ("le", OpenMetrics.Number(bounds[i])));
        }

        var all = counts.Sum();
        Add("_bucket", all, label, ("le", "+Inf"));
        Add("_count", all, label);
        Add("_sum", total, label);
    }

    private void Add(string suffix, double value, params (string Name, string Value)[] labels) =>
        _samples.Add(new Sample(Metric.Name + suffix, [("name", _device), .. labels], value));
}
