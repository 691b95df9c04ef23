using System;
using System.Diagnostics;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Remote.Bases;

/// <summary>
/// Fetches the rest of a base while nobody else needs its source, a while after it was opened: then it is local, and the source is
/// not needed any more. Home loop.
/// </summary>
/// <param name="storage">the base</param>
/// <param name="delay">how long it waits; a tenth of it more or less, so that a fleet does not begin at the same instant</param>
/// <param name="rate">bytes a second at most; null for as many as come</param>
/// <param name="report">told if it gives up</param>
internal sealed class BackgroundFill(RemoteStorage storage, TimeSpan delay, long? rate, Action<string> report)
{
    // Enough to hide the way to the source; requests of the guest come before all of them.
    private const int ChunksAtATime = 4;

    // How often it is looked whether to go on.
    private const int Nap = 200;

    private const int IdleNap = 5;

    // The second one finds what was evicted, or lost with its source, during the first.
    private const int Passes = 2;

    private bool _isStopped;

    public void Stop() => _isStopped = true;

    public async LoopTask<int> RunAsync()
    {
        await SleepAsync(delay * (0.9 + (0.2 * Random.Shared.NextDouble())));
        for (var pass = 0; pass < Passes && !_isStopped && !storage.IsLocal; pass++)
            await PassAsync();
        if (!_isStopped && !storage.IsLocal)
            report($"the cache does not keep all of {storage.Path}: it is not filled any further");
        return 0;
    }

    private async LoopTask<int> PassAsync()
    {
        for (var chunk = 0L; chunk < storage.Chunks && !_isStopped;)
        {
            if (!storage.IsIdle || storage.State == SourceState.WaitingForSource)
            {
                await SleepAsync(TimeSpan.FromMilliseconds(IdleNap));
                continue;
            }

            var began = Stopwatch.GetTimestamp();
            var first = chunk;
            var count = 0;
            for (; chunk < storage.Chunks && count < ChunksAtATime; chunk++)
            {
                if (storage.HasChunk(chunk))
                    continue;
                storage.FetchAhead(chunk * storage.ChunkBytes, 1, pin: false);
                count++;
            }

            await storage.WhenIdleAsync();

            // What is not kept would be fetched again and again.
            if (count > 0 && storage.State != SourceState.WaitingForSource && !storage.HasAnyChunk(first, chunk))
                return 0;
            if (rate is { } most && count > 0)
                await SleepAsync(TimeSpan.FromSeconds((double)count * storage.ChunkBytes / most) - Stopwatch.GetElapsedTime(began));
        }

        return 0;
    }

    private async LoopTask<int> SleepAsync(TimeSpan time)
    {
        var end = Stopwatch.GetTimestamp() + (long)(time.TotalSeconds * Stopwatch.Frequency);
        while (!_isStopped && Stopwatch.GetTimestamp() is var now && now < end)
            await LoopScheduler.Current.DelayAsync((int)Math.Clamp((end - now) * 1000 / Stopwatch.Frequency, 1, Nap));
        return 0;
    }
}
