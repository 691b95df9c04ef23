using System.Collections.Generic;
using System.Linq;

namespace Qcow2Blk.Devices.Metrics;

/// <summary>All metrics of a device. docs/metrics.md lists them for users.</summary>
internal static class MetricTable
{
    private const string Prefix = "qcow2blk_";
    private const string Operation = "operation", Read = "read", Write = "write", Other = "other", Both = "both";

    /// <summary>What a device can be: the server's own words, and what others see of a server that does not answer.</summary>
    internal static readonly string[] States =
    [
        "running", "waiting-for-source", "suspending", "suspended", "failed", "detaching", "starting", "recovering", "dead", "silent",
    ];

    /// <summary>How a base and its source can be.</summary>
    internal static readonly string[] SourceStates = ["online", "waiting-for-source", "failed", "local"];

    public static IReadOnlyList<Metric> All { get; } =
    [
        // Not of type "info" and "stateset": the older format, which the textfile collector reads, has no such types.
        new(Prefix + "device_info", MetricType.Gauge, "", "What is attached, and where; always 1", DeviceInfo),
        new(Prefix + "device_state", MetricType.Gauge, "", "1 for the state that the device is in, 0 for the others", DeviceState),
        Gauge("device_start_time_seconds", "seconds", "When it was attached, in seconds since 1970",
            (status, samples) => samples.Add(status.Time("started"))),
        Gauge("device_size_bytes", "bytes", "Size of the disk", "geometry", "size"),
        new(Prefix + "device_read_only", MetricType.Gauge, "", "1 if the disk cannot be written to",
            (status, samples) => samples.Add(AsNumber(status.Flag("geometry", "read-only")))),
        Counter("device_recoveries", "", "How often a server of the block device died and another one took over", "recoveries"),
        Gauge("image_file_bytes", "bytes", "Length of the image file", "geometry", "file-bytes"),
        Gauge("image_snapshots", "", "Internal snapshots of the image", "geometry", "snapshots"),
        Gauge("image_chain_length", "", "Images of the backing chain, the image itself included",
            (status, samples) => samples.Add(status.Count("chain"))),
        Gauge("connections", "", "Open connections of NBD clients or of the kernel", "requests", "connections"),
        new(Prefix + "requests", MetricType.Counter, "", "Finished requests", Requests),
        new(Prefix + "request_bytes", MetricType.Counter, "bytes", "Bytes read and written by finished requests", RequestBytes),
        Counter("request_errors", "", "Requests that failed", "requests", "errors"),
        new(Prefix + "request_duration_seconds", MetricType.Histogram, "seconds", "How long requests took, from arrival to answer",
            Durations),
        Gauge("requests_in_flight", "", "Requests that are being served", "requests", "in-flight"),
        new(Prefix + "requests_waiting", MetricType.Gauge, "",
            "Requests that wait for space in the file system, for a limit, or for the source of a base", Waiting),
        new(Prefix + "limit_requests_per_second", MetricType.Gauge, "", "Limit of requests, if one is set", RequestLimits),
        new(Prefix + "limit_bytes_per_second", MetricType.Gauge, "", "Limit of throughput, if one is set", ByteLimits),
        Gauge("limit_burst_seconds", "seconds", "How many seconds of its limits an idle device may save up", "limits", "burst"),
        Gauge("l2_cache_bytes", "bytes", "Size of the cache of L2 tables", "cache", "l2-bytes"),
        Counter("l2_cache_hits", "", "L2 tables that were in the cache", "cache", "l2-hits"),
        Counter("l2_cache_misses", "", "L2 tables that had to be read", "cache", "l2-misses"),
        Counter("commits", "", "Commits of changed metadata to the image", "cache", "commits"),
        Base("base_bytes", MetricType.Gauge, "bytes", "Size of a base in a store", "length-bytes"),
        Base("base_cached_bytes", MetricType.Gauge, "bytes", "Bytes of a base that are in the cache of this machine", "cached-bytes"),
        new(Prefix + "base_source_state", MetricType.Gauge, "", "1 for the state that the source of a base is in, 0 for the others",
            BaseStates),
        Base("base_cache_hits", MetricType.Counter, "", "Reads of a base that its cache answered", "hits"),
        Base("base_cache_misses", MetricType.Counter, "", "Reads of a base that waited for its source", "misses"),
        Base("base_fetched_bytes", MetricType.Counter, "bytes", "Bytes that the source of a base has sent", "fetched-bytes"),
        Base("base_fetches", MetricType.Counter, "", "Chunks that the source of a base has sent", "fetches"),
        Base("base_fetch_retries", MetricType.Counter, "", "Attempts to read from a source that failed and were made again", "retries"),
        Base("base_bad_chunks", MetricType.Counter, "", "Chunks that were not what the manifest says", "bad-chunks"),
        Base("base_hedges", MetricType.Counter, "", "Slow reads that a source or a mirror was asked for a second time", "hedges"),
        Base("base_hedge_wins", MetricType.Counter, "", "Those of them whose second answer came first", "hedge-wins"),
        new(Prefix + "base_fetch_seconds", MetricType.Gauge, "seconds", "Half, and 99 %, of the fetches of a base took less than this",
            FetchTimes),
        Gauge("server_resident_bytes", "bytes", "Memory of the server's process", "memory", "resident-bytes"),
        Gauge("server_managed_bytes", "bytes", "Memory on the .NET heap of the server", "memory", "managed-bytes"),
        Counter("server_allocated_bytes", "bytes", "Bytes allocated on the .NET heap of the server", "memory", "allocated-bytes"),
        Counter("server_collections", "", "Garbage collections in the server", "memory", "collections"),
        Counter("ublk_zero_copy_requests", "", "Requests of a ublk device that were served without a copy", "kernel",
            "zero-copy-requests"),
        Counter("nbd_reconnections", "", "Connections of a kernel NBD device that were replaced", "kernel", "reconnected"),
    ];

    private static Metric Gauge(string name, string unit, string help, params string[] path) =>
        new(Prefix + name, MetricType.Gauge, unit, help, (status, samples) => samples.Add(status.Number(path)));

    private static Metric Gauge(string name, string unit, string help, System.Action<StatusReader, SampleList> read) =>
        new(Prefix + name, MetricType.Gauge, unit, help, read);

    private static Metric Counter(string name, string unit, string help, params string[] path) =>
        new(Prefix + name, MetricType.Counter, unit, help, (status, samples) => samples.Add(status.Number(path)));

    private static Metric Base(string name, MetricType type, string unit, string help, string member) =>
        new(Prefix + name, type, unit, help, (status, samples) =>
        {
            foreach (var one in status.Each("bases"))
                samples.Add(one.Number(member), ("url", one.Text("url") ?? ""));
        });

    private static void BaseStates(StatusReader status, SampleList samples)
    {
        foreach (var one in status.Each("bases"))
        {
            foreach (var state in SourceStates)
                samples.Add(state == one.Text("state") ? 1 : 0, ("url", one.Text("url") ?? ""), ("state", state));
        }
    }

    private static void FetchTimes(StatusReader status, SampleList samples)
    {
        foreach (var one in status.Each("bases"))
        {
            samples.Add(one.Number("fetch-p50-ns") / 1e9, ("url", one.Text("url") ?? ""), ("quantile", "0.5"));
            samples.Add(one.Number("fetch-p99-ns") / 1e9, ("url", one.Text("url") ?? ""), ("quantile", "0.99"));
        }
    }

    private static double? AsNumber(bool? flag) => flag is { } known ? known ? 1 : 0 : null;

    private static void DeviceInfo(StatusReader status, SampleList samples) => samples.Add(1, ("image", status.Text("image") ?? ""),
        ("device", status.Text("device") ?? ""), ("uri", status.Text("uri") ?? ""),
        ("transport", status.Text("kernel", "transport") ?? ""));

    private static void DeviceState(StatusReader status, SampleList samples)
    {
        var now = status.Text("state");
        foreach (var state in States)
            samples.Add(state == now ? 1 : 0, ("state", state));
        // One of a later version of the server.
        if (now is not null && !((IList<string>)States).Contains(now))
            samples.Add(1, ("state", now));
    }

    private static void Requests(StatusReader status, SampleList samples)
    {
        samples.Add(status.Number("requests", "reads"), (Operation, Read));
        samples.Add(status.Number("requests", "writes"), (Operation, Write));
        samples.Add(status.Number("requests", "others"), (Operation, Other));
    }

    private static void RequestBytes(StatusReader status, SampleList samples)
    {
        samples.Add(status.Number("requests", "read-bytes"), (Operation, Read));
        samples.Add(status.Number("requests", "written-bytes"), (Operation, Write));
    }

    private static void Durations(StatusReader status, SampleList samples)
    {
        var bounds = status.Numbers("latency", "histogram", "le-ns");
        for (var i = 0; i < bounds.Length; i++)
            bounds[i] /= 1e9;
        Add("reads", "read-time-ns", Read);
        Add("writes", "write-time-ns", Write);
        Add("others", "other-time-ns", Other);

        void Add(string counts, string sum, string operation) => samples.AddHistogram(bounds,
            status.Numbers("latency", "histogram", counts), status.Number("requests", sum) / 1e9, (Operation, operation));
    }

    private static void Waiting(StatusReader status, SampleList samples)
    {
        samples.Add(status.Number("requests", "waiting-for-space"), ("reason", "space"));
        samples.Add(status.Number("requests", "waiting-for-limit"), ("reason", "limit"));
        var sources = status.Each("bases").Sum(one => one.Number("waiting") ?? 0);
        if (status.Count("bases") is not null)
            samples.Add(sources, ("reason", "source"));
    }

    private static void RequestLimits(StatusReader status, SampleList samples)
    {
        samples.Add(status.Number("limits", "iops"), (Operation, Both));
        samples.Add(status.Number("limits", "read-iops"), (Operation, Read));
        samples.Add(status.Number("limits", "write-iops"), (Operation, Write));
    }

    private static void ByteLimits(StatusReader status, SampleList samples)
    {
        samples.Add(status.Number("limits", "bandwidth"), (Operation, Both));
        samples.Add(status.Number("limits", "read-bandwidth"), (Operation, Read));
        samples.Add(status.Number("limits", "write-bandwidth"), (Operation, Write));
    }
}
