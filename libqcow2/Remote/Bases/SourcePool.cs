using System;
using System.Collections.Generic;
using System.Diagnostics;
using Qcow2Blk.Buffers;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Remote.Bases;

/// <summary>
/// The source of a base and its mirrors: reads from the first that gives what it should, and waits where none does. What a
/// source has sent is used only if it is of the object that was opened, and is what the manifest says where there is one.
/// </summary>
/// <param name="sources">the first is asked first</param>
/// <param name="proof">what each chunk has to be; null if nothing says that</param>
/// <param name="identity">what the sources have to hold; null until the first was opened</param>
/// <param name="counters">told of what failed</param>
/// <param name="report">told of trouble, once each time that it begins</param>
internal sealed partial class SourcePool(
    IReadOnlyList<IRemoteSource> sources, IChunkProof? proof, SourceIdentity? identity, RemoteCounters counters, Action<string> report)
{
    /// <summary>Of a read: nothing was sent, as the source knew that it is zeroes.</summary>
    public const int Zeroes = 1;

    private const int FirstPause = 200;
    private const int LongestPause = 30_000;

    // How long a pause is slept through before it is looked whether the source is back.
    private const int Nap = 100;

    // Times that each source may send a chunk that is not what it should be.
    private const int BadChunkRounds = 2;

    private readonly SourceMember[] _members = MembersOf(sources);
    private int _preferred;
    private long _leftFirst;
    private long _successes;
    private bool _isClosing;

    /// <summary>What time it is, in ticks of the stopwatch.</summary>
    public Func<long> Clock { get; init; } = Stopwatch.GetTimestamp;

    /// <summary>Why no source will do any more; null if one may.</summary>
    public string? Failure { get; private set; }

    /// <summary>Why the last attempt failed; null if it succeeded.</summary>
    public string? Trouble { get; private set; }

    /// <summary>Whether no source answers.</summary>
    public bool IsAway => Trouble is not null && Failure is null;

    public SourceIdentity? Identity { get; private set; } = identity;

    /// <summary>The source that is asked first now.</summary>
    public string Name => _members[_preferred].Source.Name;

    public int Depth => _members[_preferred].Source.Depth;

    /// <summary>Opens the first source that answers.</summary>
    /// <param name="patience">how long to try</param>
    /// <returns>0; or a negative errno, and <see cref="Failure"/> or <see cref="Trouble"/> says why</returns>
    public async LoopTask<int> OpenAsync(TimeSpan patience)
    {
        var began = Clock();
        for (var round = 0; ; round++)
        {
            var pause = TimeSpan.Zero;
            for (var i = 0; i < _members.Length; i++)
            {
                var result = await OpenAsync(i, isExtra: false);
                if (result.IsDone)
                    return 0;
                if (Failure is not null)
                    return -Errno.EIO;
                pause = Max(pause, result.RetryAfter);
            }

            var delay = DelayOf(round, pause);
            if (Since(began).TotalMilliseconds + delay > patience.TotalMilliseconds)
                return -Errno.ETIMEDOUT;
            counters.CountRetry();
            await LoopScheduler.Current.DelayAsync(delay);
        }
    }

    /// <summary>Reads one chunk, however long that takes.</summary>
    /// <param name="chunk">its number, for the proof</param>
    /// <param name="offset">of its first byte</param>
    /// <param name="buffer">for all of it</param>
    /// <param name="isWanted">whether somebody waits for it: without, it is not asked for again after a round of failures</param>
    /// <returns>
    /// 0, <see cref="Zeroes"/> or a negative errno, -EAGAIN if it is not wanted any more; and the buffer that the caller has now, with
    /// the bytes if there are any: the one that was given, or one in its place
    /// </returns>
    public async LoopTask<(int Error, NativeBuffer Buffer)> ReadAsync(long chunk, long offset, NativeBuffer buffer, Func<bool> isWanted)
    {
        _hedges.CountRead();
        var read = new ChunkRead(chunk, offset, buffer, isWanted);
        for (var round = 0; ; round++)
        {
            read.Pause = TimeSpan.Zero;
            ProbeFirst(chunk, offset, buffer.Length);
            var first = _preferred;
            for (var i = 0; i < _members.Length; i++)
            {
                if (_isClosing)
                    return (-Errno.ESHUTDOWN, buffer);
                var index = (first + i) % _members.Length;
                if (_members[index].IsDropped)
                    continue;
                if (await RaceAsync(read, index) is { } winner)
                    return (winner.Result.IsZeroes ? Zeroes : 0, winner.Buffer);
                if (read.Bad >= BadChunkRounds * Alive)
                    return (-Errno.EIO, buffer);
            }

            if (Failure is not null)
                return (-Errno.EIO, buffer);
            if (!isWanted())
                return (-Errno.EAGAIN, buffer);
            counters.CountRetry();

            // Bad chunks are asked for again at once: the source is there, and a few more attempts are all it gets.
            if (Trouble is not null)
                await PauseAsync(DelayOf(round, read.Pause));
        }
    }

    /// <summary>Ends what is under way; nothing is read after that.</summary>
    public async LoopTask<int> CloseAsync()
    {
        _isClosing = true;
        foreach (var member in _members)
            await member.Source.CloseAsync();

        // Buffers are the sources' until then.
        while (_underWay > 0)
            await _ended.WaitAsync();
        return 0;
    }

    private int Alive
    {
        get
        {
            var alive = 0;
            foreach (var member in _members)
                alive += member.IsDropped ? 0 : 1;
            return alive;
        }
    }

    /// <summary>Opens one source, once however many ask for it, and holds it to what the others are.</summary>
    private async LoopTask<FetchResult> OpenAsync(int index, bool isExtra)
    {
        var member = _members[index];
        await member.Opening.EnterAsync();
        var result = FetchResult.Done;
        if (member.IsOpen)
        {
            // Another request has opened it meanwhile.
        }
        else if (member.IsDropped || _isClosing)
        {
            result = new FetchResult(FetchStatus.Unavailable, $"{member.Source.Name} is not used any more");
        }
        else
        {
            // Another server's version of the same bytes is another one; there the length and the manifest have to do.
            var expected = index == 0 || Identity is null ? Identity : new SourceIdentity(Identity.Value.Length, null);
            result = await member.Source.OpenAsync(expected);
            if (result.IsDone && Identity is { } known && member.Source.Identity!.Value.Length != known.Length)
            {
                result = new FetchResult(FetchStatus.Changed,
                    $"{member.Source.Name} has {member.Source.Identity.Value.Length} bytes, and the base has {known.Length}");
            }

            if (result.IsDone)
            {
                member.IsOpen = true;
                Identity ??= member.Source.Identity;
                Answered(index);
            }
            else
            {
                Failed(index, result, isExtra);
            }
        }

        member.Opening.Exit();
        return result;
    }

    /// <summary>It has given what it should, and is asked first from now on.</summary>
    private void Succeeded(int index)
    {
        if (index != 0 && _preferred == 0)
            _leftFirst = Clock();
        _preferred = index;
        Answered(index);
    }

    private void Answered(int index)
    {
        _successes++;
        _members[index].DownSince = null;
        if (Trouble is null)
            return;
        Trouble = null;
        report($"{_members[index].Source.Name} answers again");
    }

    /// <param name="index">of the source</param>
    /// <param name="result">what it gave</param>
    /// <param name="isExtra">whether another one is asked for the same: then it is no trouble yet</param>
    private void Failed(int index, FetchResult result, bool isExtra)
    {
        var member = _members[index];
        member.DownSince = Clock();
        if (result.IsBusy)
            member.BusySince = Clock();
        if (member.IsDropped)
            return;
        if (result.IsFinal)
        {
            member.IsDropped = true;
            if (Alive == 0)
            {
                Failure = result.Why;
                report($"the base cannot be read any more: {result.Why}");
                return;
            }

            report($"a source of the base is not used any more: {result.Why}");
            if (_preferred == index)
                _preferred = Array.FindIndex(_members, other => !other.IsDropped);
            return;
        }

        if (isExtra)
            return;

        // One of several that is away is no trouble yet: the next one is asked.
        if (Trouble is null && Alive <= 1)
            report($"{result.Why}: trying again");
        if (Alive <= 1 || index == LastAlive)
            Trouble ??= result.Why;
    }

    private int LastAlive => Array.FindLastIndex(_members, member => !member.IsDropped);

    private async LoopTask<bool> VerifyAsync(long chunk, NativeBuffer buffer) =>
        await LoopScheduler.Current.OffloadAsync(new Verification(proof!, chunk, buffer)) == 1;

    /// <summary>Waits, but not longer than until somebody has had an answer.</summary>
    private async LoopTask<int> PauseAsync(int milliseconds)
    {
        var successes = _successes;
        var end = Clock() + (milliseconds * Stopwatch.Frequency / 1000);
        while (!_isClosing && successes == _successes)
        {
            var left = (int)((end - Clock()) * 1000 / Stopwatch.Frequency);
            if (left <= 0)
                break;
            await LoopScheduler.Current.DelayAsync(Math.Min(left, Nap));
        }

        return 0;
    }

    /// <summary>Full jitter: a thousand nodes that lost the same source must not come back at the same instant.</summary>
    private static int DelayOf(int round, TimeSpan retryAfter)
    {
        var most = (int)Math.Min(LongestPause, (long)FirstPause << Math.Min(round, 16));
        var asked = (int)Math.Min(LongestPause, retryAfter.TotalMilliseconds);
        return asked + Random.Shared.Next(1, most + 1);
    }

    private TimeSpan Since(long then) => Stopwatch.GetElapsedTime(then, Clock());

    private static TimeSpan Max(TimeSpan one, TimeSpan? other) => other > one ? other.Value : one;

    private static SourceMember[] MembersOf(IReadOnlyList<IRemoteSource> sources)
    {
        var members = new SourceMember[sources.Count];
        for (var i = 0; i < members.Length; i++)
            members[i] = new SourceMember(sources[i]);
        return members;
    }

    private sealed class Verification(IChunkProof proof, long chunk, NativeBuffer buffer) : IOffloadWork
    {
        public int Execute() => proof.Holds(chunk, buffer.Span) ? 1 : 0;
    }
}
