using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Remote.Cache;

/// <summary>
/// Finds out how full a cache is, and makes room where it is nearly full: what was used longest ago goes first, entries that
/// nobody uses before others. Pinned chunks go with their whole entry; others only if nothing else is left to go, and then until no more
/// are pinned than may be. In steps, so that other work has its turn on the helper threads.
/// </summary>
internal sealed class RoomMaker(CacheSettings settings) : IOffloadWork, IDisposable
{
    /// <summary>What was used within so many seconds stays: room for it would be made at the cost of its like.</summary>
    public const int RecentSeconds = 120;

    private readonly Queue<(string Name, bool IsInUse)> _entries = [];
    private readonly Queue<int> _segments = [];
    private readonly Queue<string> _wholes = [];
    private readonly Queue<string> _uncounted = [];
    private readonly Queue<string> _pinned = [];
    private CacheDirectory? _directory;
    private EntryFiles? _entry;
    private int _data = -1;
    private bool _isEvicting;
    private bool _takesPins;
    private long _pinnedBytes;
    private long _excess;

    /// <summary>How full it is, less what was removed.</summary>
    public CacheSurvey Survey { get; private set; }

    /// <summary>Why it cannot be done.</summary>
    public string? Why { get; private set; }

    /// <summary>What all entries may take from now on, whatever the limit is; null to go by the limit.</summary>
    public long? Target { get; init; }

    /// <summary>Seconds since 1970: what was used after that stays.</summary>
    public long UsedBefore { get; init; } = settings.Now - RecentSeconds;

    /// <summary>Ids of the entries that may be touched; null for all.</summary>
    public IReadOnlySet<string>? Only { get; init; }

    /// <summary>Whether another process made room at that moment, so that nothing was done.</summary>
    public bool IsOutrun { get; private set; }

    /// <summary>Bytes that were freed.</summary>
    public long Freed { get; private set; }

    /// <summary>Entries that were removed.</summary>
    public int Removed { get; private set; }

    /// <summary>One step.</summary>
    /// <returns>1 if there is more to do; 0 if it is done; or a negative errno</returns>
    public int Execute()
    {
        try
        {
            var more = _directory is null ? Begin() : Step();
            if (!more)
                Dispose();
            return more ? 1 : 0;
        }
        catch (IOException error)
        {
            Why = error.Message;
            Dispose();
            return -Errno.EIO;
        }
    }

    public void Dispose()
    {
        CloseEntry();
        if (_isEvicting)
            _directory!.EndEviction();
        _isEvicting = false;
        _directory?.Dispose();
        _directory = null;
    }

    private bool Begin()
    {
        _directory = CacheDirectory.Open(settings.Directory, make: false);
        if (_directory is null)
            return false;
        Survey = CacheSurvey.Of(_directory.Root, settings.LimitBytes);
        _excess = Target is { } target ? Survey.Taken - target : Survey.IsNearlyFull ? Survey.Excess : 0;
        if (_excess <= 0)
            return false;
        _isEvicting = _directory.TryBeginEviction();
        IsOutrun = !_isEvicting;
        if (IsOutrun)
            return false;
        foreach (var (name, isInUse) in InOrder(_directory.Root))
        {
            _entries.Enqueue((name, isInUse));
            _uncounted.Enqueue(name);
            if (!isInUse)
                _wholes.Enqueue(name);
        }

        return true;
    }

    /// <summary>Entries, those first that are to go first. What is damaged is removed here and now.</summary>
    private List<(string Name, bool IsInUse)> InOrder(CacheFolder root)
    {
        var found = new List<(string Name, bool IsInUse, long LastUse)>();
        foreach (var name in root.EntryNames().Where(name => Only?.Contains(name) != false))
        {
            using var entry = EntryFiles.TryOpen(root, name);
            if (entry is not null)
                found.Add((name, entry.IsInUse(), entry.LastUse(settings.Now)));
            else
                Remove(name);
        }

        return [.. found.OrderBy(entry => entry.IsInUse).ThenBy(entry => entry.LastUse).Select(entry => (entry.Name, entry.IsInUse))];
    }

    private bool Step()
    {
        if (_excess <= 0 || (_takesPins && ExcessOfPins <= 0))
            return false;
        if (_segments.TryDequeue(out var segment))
        {
            if (Evict(segment) < 0)
                _segments.Clear();
            return true;
        }

        CloseEntry();
        if (_entries.TryDequeue(out var next))
        {
            OpenEntry(next.Name);
            return true;
        }

        if (_wholes.TryDequeue(out var whole))
        {
            if (IsOld(whole))
                Remove(whole);
            return true;
        }

        if (_uncounted.TryDequeue(out var uncounted))
        {
            CountPins(uncounted);
            return true;
        }

        _takesPins = true;
        if (!_pinned.TryDequeue(out var pinned))
            return false;
        OpenEntry(pinned);
        return true;
    }

    /// <summary>Pinned bytes that are more than may be pinned of all entries together: without them the limit would be none.</summary>
    private long ExcessOfPins => Math.Min(_excess, _pinnedBytes - Survey.MostPinned);

    private void CountPins(string name)
    {
        using var entry = EntryFiles.TryOpen(_directory!.Root, name);
        if (entry?.Map.Count().Pinned is not (> 0 and var bytes))
            return;
        _pinnedBytes += bytes;
        _pinned.Enqueue(name);
    }

    private void OpenEntry(string name)
    {
        _entry = EntryFiles.TryOpen(_directory!.Root, name);
        _data = _entry?.OpenData(O_RDWR) ?? -1;
        if (_data < 0)
            return;
        var (map, now) = (_entry!.Map, settings.Now);
        var old = Enumerable.Range(0, map.Layout.Segments).Where(segment => map.LastUse(segment, now) <= UsedBefore);
        foreach (var segment in old.OrderBy(segment => map.LastUse(segment, now)))
            _segments.Enqueue(segment);
    }

    private void CloseEntry()
    {
        if (_data >= 0)
            Files.Close(_data);
        _data = -1;
        _entry?.Dispose();
        _entry = null;
        _segments.Clear();
    }

    private int Evict(int segment)
    {
        var before = BlocksOfData();
        var result = SegmentEviction.Run(_entry!, _data, segment, _takesPins ? ExcessOfPins : 0);
        var freed = before - BlocksOfData();
        if (_takesPins)
            _pinnedBytes -= freed;
        Note(freed);
        return result;
    }

    private bool IsOld(string name)
    {
        using var entry = EntryFiles.TryOpen(_directory!.Root, name);
        return entry is not null && !entry.IsInUse() && entry.LastUse(settings.Now) <= UsedBefore;
    }

    private void Remove(string name)
    {
        var taken = CacheSurvey.AllocatedBytes(_directory!.Root, name);
        if (_directory.Remove(name) < 0)
            return;
        Removed++;
        Note(taken);
    }

    private void Note(long freed)
    {
        _excess -= freed;
        Freed += freed;
        Survey = Survey with { Taken = Survey.Taken - freed };
    }

    private long BlocksOfData() => Stat.OfFile(_data, out var status) == 0 ? (long)Math.Min(status.stx_blocks,
        long.MaxValue >> 12) * 512 : 0;
}
