using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Threading;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Logging;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Bases;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Devices;

/// <summary>What is in the cache of a base after it was fetched ahead.</summary>
/// <param name="Length">bytes of the base</param>
/// <param name="StoredBytes">bytes of it that are in the cache</param>
/// <param name="Wanted">chunks that were to be there</param>
/// <param name="Missing">those of them that are not: there is no room for them</param>
internal sealed record PrefetchReport(long Length, long StoredBytes, long Wanted, long Missing);

/// <summary>Fills the cache of a base before anybody needs it.</summary>
internal static class BasePrefetch
{
    // As many as sources are good for; each is waited for, so that a source that is away is noticed.
    private const int ChunksAtATime = 8;

    /// <summary>Fetches all of a base, or what a trace of it names.</summary>
    /// <param name="url">of the base</param>
    /// <param name="options">how it is read, where it is kept, and the trace</param>
    /// <param name="log">told of trouble</param>
    /// <param name="progress">told of the part that is done, from 0 to 1</param>
    /// <exception cref="OutcomeException">it cannot be read, or not be kept</exception>
    public static PrefetchReport Run(string url, AttachOptions options, ILog log, Action<double>? progress)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (RemoteLocation.Parse(url, out var location) is { } wrong)
            throw new OutcomeException(OutcomeKind.Invalid, $"bad URL {url.Split('?')[0]}", wrong);
        RemoteOptions.Check(options with { Base = url });
        var settings = RemoteOptions.Resolve(options);
        if (settings.CacheDirectory is null)
        {
            throw new OutcomeException(
                OutcomeKind.Invalid, $"cannot prefetch {location!.Name}", "there is no cache to keep it in", "see --cache-dir");
        }

        using var offload = new OffloadPool(1);
        using var loop = new EventLoop(0, offload);
        using var ended = new ManualResetEventSlim();
        PrefetchReport? report = null;
        Exception? failure = null;
        loop.Start();
        loop.PostFromAnyThread(() => RunAsync().Forget());
        ended.Wait();
        return failure is null ? report! : throw Refusals.From(failure, $"cannot prefetch {location!.Name}");

        async LoopTask<int> RunAsync()
        {
            try
            {
                report = await FetchAsync(location!, settings, log, progress);
            }
            catch (Exception error)
            {
                failure = error;
            }

            ended.Set();
            return 0;
        }
    }

    private static async LoopTask<PrefetchReport> FetchAsync(
        RemoteLocation location, RemoteSettings settings, ILog log, Action<double>? progress)
    {
        // The trace is read here: what it names is waited for.
        var opening = new BaseOpening(settings with { Trace = null, RecordTrace = null, FillAfter = null }, RemoteMakers.Real, log);
        using var storage = await opening.OpenAsync(location);
        if (storage.CachedFile is null)
            throw new IOException($"the cache {settings.CacheDirectory} cannot be used");
        var chunks = settings.Trace is null ? AllOf(storage) : await TracedAsync(storage, settings, log);
        var pins = settings.Trace is null ? null : storage.PinsOfTrace();
        for (var i = 0; i < chunks.Length; i += ChunksAtATime)
        {
            var batch = chunks[i..Math.Min(i + ChunksAtATime, chunks.Length)]
                .Select(chunk => (Chunk: chunk, Pin: pins?.Take(chunk) == true)).Where(next => !storage.HasChunk(next.Chunk)).ToArray();
            if (batch.Length > 0)
                await FetchAsync(storage, batch);
            progress?.Invoke((double)i / chunks.Length);
        }

        var missing = chunks.Count(chunk => !storage.HasChunk(chunk));
        return new PrefetchReport(storage.Length, storage.StoredBytes, chunks.Length, missing);
    }

    private static long[] AllOf(RemoteStorage storage)
    {
        var chunks = new long[storage.Chunks];
        for (var chunk = 0L; chunk < chunks.Length; chunk++)
            chunks[chunk] = chunk;
        return chunks;
    }

    /// <summary>The chunks that a trace names, each once, in its order.</summary>
    /// <exception cref="IOException">it is not a trace of this base</exception>
    private static async LoopTask<long[]> TracedAsync(RemoteStorage storage, RemoteSettings settings, ILog log)
    {
        var name = settings.Trace!.Split('?')[0];
        var its = settings with { CredentialsOf = storage.Location };
        var text = await SmallObject.ReadAsync(settings.Trace, its, BootTrace.MaxBytes, RemoteMakers.Real.CreateSource, log.Debug);
        if (BootTrace.Parse(text, out var trace) is { } wrong)
            throw new IOException($"the trace {name} cannot be used: {wrong}");
        if (trace!.Length != storage.Length || trace.Version != storage.Version)
            throw new IOException($"the trace {name} cannot be used: it is of another base");
        var seen = new HashSet<long>();
        var chunks = new List<long>();
        foreach (var offset in trace.Offsets)
        {
            var end = Math.Min(storage.Length, offset + trace.ChunkBytes);
            for (var chunk = offset / storage.ChunkBytes; chunk * storage.ChunkBytes < end; chunk++)
            {
                if (seen.Add(chunk))
                    chunks.Add(chunk);
            }
        }

        return [.. chunks];
    }

    private static async LoopTask<int> FetchAsync(RemoteStorage storage, (long Chunk, bool Pin)[] chunks)
    {
        var pool = LoopScheduler.Current.Buffers;
        var bytes = pool.Rent(chunks.Length);
        var group = TaskGroup.Rent();
        for (var i = 0; i < chunks.Length; i++)
        {
            var offset = chunks[i].Chunk * storage.ChunkBytes;
            storage.FetchAhead(offset, 1, chunks[i].Pin);
            group.Add(storage.ReadAsync(offset, bytes.Slice(i, 1)));
        }

        var result = await group.WaitAsync();
        await storage.WhenIdleAsync();
        pool.Return(bytes);
        return result == 0 ? 0 : throw new IOException(storage.Trouble ?? "it gives nothing");
    }
}
