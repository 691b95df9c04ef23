using System;
using System.Collections.Generic;
using Qcow2Blk.Exports.Traffic;

namespace Qcow2Blk.Devices.Options;

/// <summary>The options that limit how fast a device is: part of <see cref="AttachOptionTable"/>, and what <c>set</c> changes.</summary>
internal static class LimitOptions
{
    private const int MostRequests = 10_000_000;

    // Below it, the wait for the next tick of a timer would be lost for the rate.
    private const double ShortestBurst = 0.02;

    // More than that is no limit.
    private const double LongestBurst = 3600;

    public static IReadOnlyList<AttachOption> All { get; } =
    [
        Requests("iops", "requests a second that read or write", l => l.Requests, (l, rate) => l with { Requests = rate }),
        Requests("read-iops", "reads a second", l => l.Reads, (l, rate) => l with { Reads = rate }),
        Requests("write-iops", "writes, writes of zeroes and discards a second", l => l.Writes, (l, rate) => l with { Writes = rate }),
        Bytes("bandwidth", "bytes a second that are read or written", l => l.Bytes, (l, rate) => l with { Bytes = rate }),
        Bytes("read-bandwidth", "bytes a second that are read", l => l.ReadBytes, (l, rate) => l with { ReadBytes = rate }),
        Bytes("write-bandwidth", "bytes a second that are written", l => l.WrittenBytes, (l, rate) => l with { WrittenBytes = rate }),
        new AttachOption<double?>(new SecondsKind(ShortestBurst, LongestBurst), o => o.Limits.BurstSeconds,
            (o, seconds) => o with { Limits = o.Limits with { BurstSeconds = seconds } })
        {
            Name = "burst",
            ValueName = "SECONDS",
            Help = "how long a device that was idle may be faster than its limits: what it did not use is saved up for this time",
            Default = "0.1",
            IsSettable = true,
        },
    ];

    private static AttachOption<int?> Requests(
        string name, string what, Func<LimitRates, long?> get, Func<LimitRates, long?, LimitRates> set) =>
        new(new WholeKind(0, MostRequests), o => (int?)get(o.Limits),
            (o, rate) => o with { Limits = set(o.Limits, OrNone(rate)) })
        {
            Name = name,
            ValueName = "N",
            Help = $"at most so many {what}; 0: no limit",
            IsSettable = true,
        };

    private static AttachOption<long?> Bytes(
        string name, string what, Func<LimitRates, long?> get, Func<LimitRates, long?, LimitRates> set) =>
        new(new BandwidthKind(), o => get(o.Limits), (o, rate) => o with { Limits = set(o.Limits, OrNone(rate)) })
        {
            Name = name,
            ValueName = "SIZE",
            Help = $"at most so many {what}, such as 100M; 0: no limit",
            IsSettable = true,
        };

    private static long? OrNone(long? rate) => rate == 0 ? null : rate;
}
