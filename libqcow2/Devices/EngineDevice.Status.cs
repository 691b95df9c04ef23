using System.Collections.Generic;
using System.Text.Json;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Exports;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Devices;

/// <summary>What <c>qcow2blk status</c> shows; the members are listed in docs/json.md.</summary>
internal sealed partial class EngineDevice
{
    public void WriteStatus(Utf8JsonWriter writer)
    {
        writer.WriteStartObject();
        writer.WriteString("name", Name);
        writer.WriteString("state", DeviceStates.Words.Of(State));
        writer.WriteString("image", ImagePath);
        writer.WriteString("backing", _options.Backing);
        writer.WriteString("backing-format", _options.BackingFormat is { } format ? ImageFormats.Words.Of(format) : null);
        writer.WriteString("uri", Uri);
        writer.WriteString("device", DevicePath);
        writer.WriteNumber("pid", System.Environment.ProcessId);
        writer.WriteString("started", History.Started.UtcDateTime.ToString("O"));
        if (DevicePath is not null)
        {
            writer.WriteNumber("recoveries", History.Recoveries);
            if (History.Supervisor is { } supervisor)
                writer.WriteNumber("supervisor", supervisor);
        }

        if (History.DetachWaitsFor is { } user)
            writer.WriteString("detach-waits-for", user);
        if (_disk?.WriteErrorReason is { } reason)
            writer.WriteString("error", reason);
        ImageStatus.Write(writer, _disk, _chain, _served.Size, _options.EffectiveReadOnly);
        BaseStatus.Write(writer, _chain);
        WriteTraffic(writer);
        WriteMemory(writer);
        WriteFacilities(writer);
        writer.WriteEndObject();
    }

    private void WriteTraffic(Utf8JsonWriter writer)
    {
        var statistics = Export.Statistics();
        var (active, parked, limited) = Export.InFlight;
        writer.WriteStartObject("requests");
        writer.WriteNumber("connections", Export.Connections);
        writer.WriteNumber("in-flight", active);
        writer.WriteNumber("waiting-for-space", parked);
        writer.WriteNumber("waiting-for-limit", limited);
        writer.WriteNumber("reads", statistics.Requests(IoKind.Read));
        writer.WriteNumber("writes", statistics.Requests(IoKind.Write));
        writer.WriteNumber("others", statistics.Requests(IoKind.Other));
        writer.WriteNumber("read-bytes", statistics.Bytes(IoKind.Read));
        writer.WriteNumber("written-bytes", statistics.Bytes(IoKind.Write));
        writer.WriteNumber("read-time-ns", statistics.Nanoseconds(IoKind.Read));
        writer.WriteNumber("write-time-ns", statistics.Nanoseconds(IoKind.Write));
        writer.WriteNumber("other-time-ns", statistics.Nanoseconds(IoKind.Other));
        writer.WriteNumber("errors", statistics.Errors);
        writer.WriteEndObject();
        WriteLatency(writer, statistics);
        WriteLimits(writer, _served.Limits.Rates);
    }

    private static void WriteLimits(Utf8JsonWriter writer, in LimitRates rates)
    {
        if (!rates.Any)
            return;
        writer.WriteStartObject("limits");
        WriteLimit(writer, "iops", rates.Requests);
        WriteLimit(writer, "read-iops", rates.Reads);
        WriteLimit(writer, "write-iops", rates.Writes);
        WriteLimit(writer, "bandwidth-bytes", rates.Bytes);
        WriteLimit(writer, "read-bandwidth-bytes", rates.ReadBytes);
        WriteLimit(writer, "write-bandwidth-bytes", rates.WrittenBytes);
        writer.WriteNumber("burst-ns", (long)((rates.BurstSeconds ?? LimitRates.DefaultBurstSeconds) * 1e9));
        writer.WriteEndObject();
    }

    private static void WriteLimit(Utf8JsonWriter writer, string name, long? perSecond)
    {
        if (perSecond is { } rate)
            writer.WriteNumber(name, rate);
    }

    private static void WriteLatency(Utf8JsonWriter writer, IoStatistics statistics)
    {
        writer.WriteStartObject("latency");
        writer.WriteNumber("p50-ns", (long)(statistics.Percentile(0.50) * 1000));
        writer.WriteNumber("p99-ns", (long)(statistics.Percentile(0.99) * 1000));
        writer.WriteNumber("p999-ns", (long)(statistics.Percentile(0.999) * 1000));
        writer.WriteStartObject("histogram");
        WriteNumbers(writer, "le-ns", IoStatistics.Bounds);
        WriteNumbers(writer, "reads", statistics.Histogram(IoKind.Read));
        WriteNumbers(writer, "writes", statistics.Histogram(IoKind.Write));
        WriteNumbers(writer, "others", statistics.Histogram(IoKind.Other));
        writer.WriteEndObject();
        writer.WriteEndObject();
    }

    private static void WriteNumbers(Utf8JsonWriter writer, string name, IReadOnlyList<long> numbers)
    {
        writer.WriteStartArray(name);
        foreach (var number in numbers)
            writer.WriteNumberValue(number);
        writer.WriteEndArray();
    }

    /// <summary>Requests allocate nothing: between two looks under load the managed counters rise by what the looks cost.</summary>
    private static void WriteMemory(Utf8JsonWriter writer)
    {
        writer.WriteStartObject("memory");
        writer.WriteNumber("resident-bytes", System.Environment.WorkingSet);
        writer.WriteNumber("managed-bytes", System.GC.GetTotalMemory(forceFullCollection: false));
        writer.WriteNumber("allocated-bytes", System.GC.GetTotalAllocatedBytes(precise: false));
        writer.WriteNumber("collections", System.GC.CollectionCount(0));
        writer.WriteEndObject();
    }

    private void WriteFacilities(Utf8JsonWriter writer)
    {
        var flags = Home.RingFlags;
        writer.WriteStartObject("kernel");
        writer.WriteString("transport", Export.Transport);
        writer.WriteNumber("queues", _loops.Length);
        writer.WriteBoolean("io-uring", !Home.IsEmulated);
        writer.WriteBoolean("single-issuer", (flags & IoUring.IORING_SETUP_SINGLE_ISSUER) != 0);
        writer.WriteBoolean("defer-taskrun", (flags & IoUring.IORING_SETUP_DEFER_TASKRUN) != 0);
        writer.WriteBoolean("coop-taskrun", (flags & IoUring.IORING_SETUP_COOP_TASKRUN) != 0);
        Export.WriteStatus(writer);
        writer.WriteEndObject();
    }
}
