using System;
using System.Collections.Generic;
using System.Linq;
using System.Text.Json;
using Qcow2Blk.Remote.Bases;

namespace Qcow2Blk.Devices;

/// <summary>What is told of the bases of a chain that are in stores; the members are listed in docs/json.md.</summary>
internal static class BaseStatus
{
    /// <summary>Whether requests wait for a source. Any thread.</summary>
    public static bool IsWaiting(IReadOnlyList<ChainLink> chain)
    {
        foreach (var link in chain)
        {
            if (link.Remote is { Parked: > 0 })
                return true;
        }

        return false;
    }

    /// <summary>Has <paramref name="changed"/> called whenever that changes. Home loop.</summary>
    public static void Follow(IReadOnlyList<ChainLink> chain, Action changed)
    {
        foreach (var link in chain.Where(link => link.Remote is not null))
            link.Remote!.ParkedChanged = changed;
    }

    /// <summary>Whether requests wait for a source that is away, or fail at once. Home loop.</summary>
    public static void SetPatience(IReadOnlyList<ChainLink> chain, bool isPatient)
    {
        foreach (var link in chain)
            link.Remote?.SetPatience(isPatient);
    }

    /// <summary>Writes "bases" into the open object, if there are any.</summary>
    public static void Write(Utf8JsonWriter writer, IReadOnlyList<ChainLink> chain)
    {
        if (chain.All(link => link.Remote is null))
            return;
        writer.WriteStartArray("bases");
        foreach (var link in chain)
        {
            if (link.Remote is { } remote)
                Write(writer, remote);
        }

        writer.WriteEndArray();
    }

    private static void Write(Utf8JsonWriter writer, RemoteStorage remote)
    {
        var counters = remote.Counters;
        writer.WriteStartObject();
        writer.WriteString("url", remote.Path);
        writer.WriteString("state", SourceStates.Words.Of(remote.State));
        writer.WriteString("source", remote.SourceName);
        if (remote.Trouble is { } trouble)
            writer.WriteString("trouble", trouble);
        writer.WriteNumber("length-bytes", remote.Length);
        writer.WriteNumber("chunk-size", remote.ChunkBytes);
        writer.WriteNumber("cached-bytes", remote.StoredBytes);
        writer.WriteNumber("waiting", remote.Parked);
        writer.WriteNumber("hits", counters.Hits);
        writer.WriteNumber("misses", counters.Misses);
        writer.WriteNumber("hit-bytes", counters.HitBytes);
        writer.WriteNumber("fetched-bytes", counters.FetchedBytes);
        writer.WriteNumber("fetches", counters.Fetches);
        writer.WriteNumber("shared-fetches", counters.Shared);
        writer.WriteNumber("retries", counters.Retries);
        writer.WriteNumber("bad-chunks", counters.BadChunks);
        writer.WriteNumber("hedges", counters.Hedges);
        writer.WriteNumber("hedge-wins", counters.HedgeWins);
        writer.WriteNumber("fetch-p50-ns", (long)(counters.Times.Percentile(0.50) * 1000));
        writer.WriteNumber("fetch-p99-ns", (long)(counters.Times.Percentile(0.99) * 1000));
        writer.WriteEndObject();
    }
}
