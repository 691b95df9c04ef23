using System;
using System.IO;
using Qcow2Blk.Logging;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Remote.Bases;

/// <summary>Fetches ahead what a trace names, in its order. Nothing waits for it, and nothing fails with it.</summary>
internal static class TraceReplay
{
    /// <param name="storage">the base</param>
    /// <param name="where">the trace: a path or a URL</param>
    /// <param name="version">of the base; null if nothing tells it from others</param>
    /// <param name="settings">how to read from a store</param>
    /// <param name="create">makes the source of the trace</param>
    /// <param name="log">told if it is of no use</param>
    public static async LoopTask<int> RunAsync(
        RemoteStorage storage, string where, string? version, RemoteSettings settings, CreateSource create, ILog log)
    {
        byte[] text;
        try
        {
            text = await SmallObject.ReadAsync(where, settings, BootTrace.MaxBytes, create, log.Debug);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            log.Warning($"going on without the trace: {failure.Message}");
            return 0;
        }

        var name = where.Split('?')[0];
        if (BootTrace.Parse(text, out var trace) is { } wrong)
        {
            log.Warning($"going on without the trace {name}: {wrong}");
            return 0;
        }

        if (trace!.Length != storage.Length || (IsPinned(trace.Version) == IsPinned(version) && trace.Version != version))
        {
            log.Warning($"going on without the trace {name}: it is of another base");
            return 0;
        }

        var pins = storage.PinsOfTrace();
        foreach (var offset in trace.Offsets)
            storage.FetchTraced(offset, trace.ChunkBytes, pins);
        return 0;
    }

    /// <summary>
    /// One who pins the base by its manifest knows no entity tag of it, and the other way round: then the length has to do.
    /// </summary>
    private static bool IsPinned(string? version) => version?.StartsWith(BaseOpening.PinnedVersion, StringComparison.Ordinal) == true;
}
