using System;
using System.Collections.Generic;
using Qcow2Blk.Buffers;
using Qcow2Blk.Scheduling;
using static Qcow2Blk.Remote.Bases.ChunkRead;

namespace Qcow2Blk.Remote.Bases;

/// <summary>
/// One attempt to read a chunk. When somebody waits for it and nothing comes for longer than usual, it is asked for a second time: at
/// a mirror that is up, or over another connection. The first answer that is whole and right is taken, the other one called off.
/// </summary>
internal sealed partial class SourcePool
{
    // How often it is looked whether a read is slow.
    private const int Look = 25;

    // So many answers in a row that a mirror had to give: what does not answer is not asked first.
    private const int MostOvertaken = 3;

    // As long as a source may ask to be left alone: what it said before that, or that it was away, says nothing of now.
    private static readonly TimeSpan s_lately = TimeSpan.FromSeconds(30);

    private readonly HedgeRule _hedges = new();
    private readonly List<ChunkRead> _reads = [];
    private readonly WaitQueue _ended = new();
    private readonly bool _mayHedge = sources.Count > 1 || sources[0].HasOwnWays;
    private int _underWay;
    private bool _isWatching;

    /// <summary>Asks a source for a chunk, and perhaps a second one.</summary>
    /// <returns>the one that has it, whose buffer is the caller's in place of the one it gave; null if none has it</returns>
    private async LoopTask<Leg?> RaceAsync(ChunkRead read, int index)
    {
        read.Begin(new Leg(index, read.Buffer, new ReadHandle()), Clock());
        _reads.Add(read);
        RunAsync(read, read.First!).Forget();
        if (_mayHedge && !_isWatching)
            WatchAsync().Forget();
        while (!read.IsDecided)
            await read.Changed.WaitAsync();
        _reads.Remove(read);

        var (first, second, winner) = (read.First!, read.Second, read.Winner);
        Settle(read, first, winner);
        if (second is not null)
            Settle(read, second, winner);
        if (winner is null)
            return null;
        if (winner == second)
            counters.CountHedgeWin();
        Won(winner, first);
        return winner;
    }

    /// <summary>Asks one source, and sees to the end of that, also when nobody waits for it any more.</summary>
    private async LoopTask<int> RunAsync(ChunkRead read, Leg leg)
    {
        _underWay++;
        leg.Result = await ReadFromAsync(leg, read.Offset);
        if (leg.Result.IsDone && proof is not null && !leg.Handle.IsCancelled)
            leg.IsBad = !await VerifyAsync(read.Chunk, leg.Buffer);
        leg.IsOver = true;
        if (leg.Handle.IsCancelled)
            LoopScheduler.Current.Buffers.Return(leg.Buffer);
        else
            read.Changed.WakeAll();
        if (--_underWay == 0)
            _ended.WakeAll();
        return 0;
    }

    private async LoopTask<FetchResult> ReadFromAsync(Leg leg, long offset)
    {
        var member = _members[leg.Source];
        if (!member.IsOpen)
        {
            var opened = await OpenAsync(leg.Source, leg.IsExtra);
            leg.IsNoted = !opened.IsDone;
            if (leg.IsNoted)
                return opened;
        }

        if (leg.Handle.IsCancelled)
            return new FetchResult(FetchStatus.Unavailable, $"{member.Source.Name} is not needed any more");
        var began = Clock();
        var result = await member.Source.ReadAsync(offset, leg.Buffer, leg.Handle);
        if (result is { IsDone: true, IsZeroes: false } && !leg.Handle.IsCancelled)
            member.Times.Add(Since(began));
        return result;
    }

    /// <summary>What one that was asked leads to, whether it has ended or not.</summary>
    private void Settle(ChunkRead read, Leg leg, Leg? winner)
    {
        if (leg == winner)
            return;
        if (!leg.IsOver)
        {
            // Its buffer goes back when it has ended.
            leg.Handle.Cancel();
            return;
        }

        var name = _members[leg.Source].Source.Name;
        if (leg.IsBad)
        {
            read.Bad++;
            counters.CountBadChunk();
            report($"{name} sent a chunk that is not what its manifest says, at offset {read.Offset}");
        }
        else if (!leg.Result.IsDone)
        {
            if (!leg.IsNoted)
                Failed(leg.Source, leg.Result, leg.IsExtra);
            read.Pause = Max(read.Pause, leg.Result.RetryAfter);
        }

        if (leg != read.First || winner is not null)
            LoopScheduler.Current.Buffers.Return(leg.Buffer);
    }

    private void Won(Leg winner, Leg first)
    {
        var member = _members[first.Source];
        if (winner.Source == first.Source || !first.Handle.IsCancelled)
        {
            member.Overtaken = 0;
            Succeeded(winner.Source);
            return;
        }

        // One slow answer is no reason to leave a source.
        if (++member.Overtaken < MostOvertaken)
        {
            Answered(winner.Source);
            return;
        }

        member.Overtaken = 0;
        member.DownSince = Clock();
        Succeeded(winner.Source);
    }

    /// <summary>Looks after the reads that are under way, as long as there are any.</summary>
    private async LoopTask<int> WatchAsync()
    {
        _isWatching = true;
        while (_reads.Count > 0 && !_isClosing)
        {
            await LoopScheduler.Current.DelayAsync(Look);
            for (var i = 0; i < _reads.Count; i++)
                HedgeIfSlow(_reads[i]);
        }

        _isWatching = false;
        return 0;
    }

    private void HedgeIfSlow(ChunkRead read)
    {
        var first = read.First!;
        if (_isClosing || Failure is not null || read.IsHedged || first.IsOver || first.Handle.HasBegun || !read.IsWanted()
            || Since(read.Began) < HedgeRule.PatienceWith(_members[first.Source].Times))
        {
            return;
        }

        var source = SecondAfter(first.Source);
        if (source < 0 || !_hedges.TryTake())
            return;
        counters.CountHedge();
        var handle = new ReadHandle { NeedsOwnWay = source == first.Source };
        read.Hedge(new Leg(source, LoopScheduler.Current.Buffers.Rent(read.Buffer.Length), handle) { IsExtra = true });
        RunAsync(read, read.Second!).Forget();
    }

    /// <summary>Whom to ask for what a source is slow with: the next one that is up, or itself; -1 for nobody.</summary>
    private int SecondAfter(int index)
    {
        if (IsBusy(_members[index]))
            return -1;
        for (var i = 1; i < _members.Length; i++)
        {
            var other = (index + i) % _members.Length;
            if (_members[other] is { IsDropped: false } member && !IsLately(member.DownSince) && !IsBusy(member))
                return other;
        }

        return _members[index].Source.HasOwnWays ? index : -1;
    }

    private bool IsBusy(SourceMember member) => IsLately(member.BusySince);

    private bool IsLately(long? time) => time is { } then && Since(then) < s_lately;
}
