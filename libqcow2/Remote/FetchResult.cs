using System;

namespace Qcow2Blk.Remote;

/// <summary>How one attempt to read from a source went.</summary>
internal enum FetchStatus
{
    /// <summary>All bytes that were asked for are there.</summary>
    Done,

    /// <summary>Nobody answered, or who answered was busy or broke off: another attempt may succeed.</summary>
    Unavailable,

    /// <summary>
    /// The credentials were refused, after they were fetched anew once: another attempt may succeed when somebody mends them.
    /// </summary>
    Denied,

    /// <summary>There is no such object. Mirrors are not always in step: another attempt may succeed.</summary>
    Missing,

    /// <summary>The object is not the one that was opened. For good: nothing of it may be mixed with what was read before.</summary>
    Changed,

    /// <summary>The source cannot serve a base: it sends no ranges, or does not say what it sends. For good.</summary>
    Unfit,
}

/// <summary>What an attempt to read from a source ended with.</summary>
/// <param name="Status">how it went</param>
/// <param name="Why">for the log, without credentials: what was asked, what came; null if it is done</param>
/// <param name="RetryAfter">how long the source asks to be left alone; null if it says nothing</param>
/// <param name="IsBusy">whether the source says that it is asked for too much</param>
internal readonly record struct FetchResult(FetchStatus Status, string? Why = null, TimeSpan? RetryAfter = null, bool IsBusy = false)
{
    public static FetchResult Done => default;

    /// <summary>Done, and nothing was sent: the source knows that all of it is zeroes, and the buffer is.</summary>
    public static FetchResult Zeroes { get; } = new() { IsZeroes = true };

    public bool IsZeroes { get; private init; }

    public bool IsDone => Status == FetchStatus.Done;

    /// <summary>Whether no attempt can ever succeed.</summary>
    public bool IsFinal => Status is FetchStatus.Changed or FetchStatus.Unfit;
}
