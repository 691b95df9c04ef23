using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using Qcow2Blk.Tests.Shared.Simulation;

namespace Qcow2Blk.Tests.Crash;

/// <summary>What a guest request puts on the disk.</summary>
internal enum Change
{
    Write,
    Zero,

    /// <summary>May leave what was there, or zeroes: it promises nothing.</summary>
    Discard,
}

/// <summary>
/// Every request of a guest, sector by sector, with when it was made, answered and promised to last; from this follows
/// what each sector may hold after a power cut at any moment.
/// </summary>
internal sealed class GuestHistory(StorageLog log)
{
    public const int SectorSize = 512;

    private readonly List<Request> _requests = [];
    private readonly Dictionary<long, List<int>> _sectors = [];
    private readonly List<int> _answeredNotDurable = [];

    public IReadOnlyCollection<long> Sectors => _sectors.Keys;

    /// <summary>A request begins; its number is what <see cref="Fill"/> writes.</summary>
    public int Begin(Change change, long offset, long length)
    {
        var number = _requests.Count;
        _requests.Add(new Request(change, log.Advance()));
        for (var sector = offset / SectorSize; sector < (offset + length) / SectorSize; sector++)
        {
            ref var list = ref CollectionsMarshal.GetValueRefOrAddDefault(_sectors, sector, out _);
            (list ??= []).Add(number);
        }

        return number;
    }

    /// <summary>The request was answered; <paramref name="durable"/>: as forced to the disk (FUA).</summary>
    public void End(int number, bool durable)
    {
        _requests[number].Answered = log.Advance();
        if (durable)
            _requests[number].Durable = log.Tick;
        else
            _answeredNotDurable.Add(number);
    }

    public long BeginFlush() => log.Advance();

    /// <summary>A flush that began at <paramref name="began"/> was answered: what had been answered before it lasts.</summary>
    public void EndFlush(long began)
    {
        var now = log.Advance();
        foreach (var number in _answeredNotDurable)
        {
            if (_requests[number].Answered < began)
                _requests[number].Durable = Math.Min(_requests[number].Durable, now);
        }

        _answeredNotDurable.RemoveAll(number => _requests[number].Durable != long.MaxValue);
    }

    /// <summary>The bytes that a write puts down: every sector tells the request and its own place.</summary>
    public static void Fill(Span<byte> data, int number, long offset)
    {
        var words = MemoryMarshal.Cast<byte, ulong>(data);
        for (var index = 0; index < words.Length; index++)
            words[index] = Mark(number, offset / SectorSize + index / (SectorSize / 8));
    }

    /// <summary>Null if a sector may hold these bytes after a cut at <paramref name="tick"/>; else what is wrong.</summary>
    public string? Judge(long sector, ReadOnlySpan<byte> found, ReadOnlySpan<byte> original, long tick)
    {
        var requests = _sectors[sector];
        var since = LastDurable(requests, tick);
        if (since == 0 && found.SequenceEqual(original))
            return null;
        var words = MemoryMarshal.Cast<byte, ulong>(found);
        var uniform = !words.ContainsAnyExcept(words[0]);
        foreach (var number in requests)
        {
            var request = _requests[number];
            if (request.Begun > tick || request.Answered < since)
                continue;
            var expected = request.Change == Change.Write ? Mark(number, sector) : 0;
            if (uniform && words[0] == expected)
                return null;
        }

        return $"sector {sector} at tick {tick}: found"
            + $" 0x{words[0]:x16}{(uniform ? "" : " (mixed)")}{(found.SequenceEqual(original) ? " (the original)" : "")}, "
            + $"durable since {since}; requests: {Describe(requests, tick)}";
    }

    private static ulong Mark(int number, long sector) => ((ulong)(number + 1) << 32) | (uint)sector;

    /// <summary>When the last request that certainly lasts began; 0: there is none.</summary>
    private long LastDurable(List<int> requests, long tick)
    {
        long last = 0;
        foreach (var number in requests)
        {
            var request = _requests[number];
            if (request.Durable <= tick && request.Change != Change.Discard)
                last = Math.Max(last, request.Begun);
        }

        return last;
    }

    private string Describe(List<int> requests, long tick)
    {
        var text = new List<string>();
        foreach (var number in requests)
        {
            var request = _requests[number];
            if (request.Begun <= tick)
                text.Add($"#{number + 1:x} {request.Change} {request.Begun}..{Show(request.Answered)} durable {Show(request.Durable)}");
        }

        return string.Join("; ", text);
    }

    private static string Show(long tick) => tick == long.MaxValue ? "never" : tick.ToString();

    private sealed class Request(Change change, long begun)
    {
        public Change Change { get; } = change;

        public long Begun { get; } = begun;

        public long Answered { get; set; } = long.MaxValue;

        public long Durable { get; set; } = long.MaxValue;
    }
}
