using System;
using System.Collections.Generic;
using System.Numerics;
using System.Threading;
using Qcow2Blk.Buffers;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Remote.Cache;

/// <summary>
/// One entry of a cache, in use by this process and by others: each chunk is in the file of data while its word in the map is
/// valid. This process uses a word only after it has read the whole chunk and found the checksum of the word.
/// </summary>
/// <remarks>
/// A chunk is written before its word, and its word is cleared on the disk before the room is taken away; both only by who
/// has claimed the chunk. So a reader that finds the same word before and after its read has read the chunk. Nothing is synced when
/// a chunk is stored: what a crash of the machine makes of data and map, the checksum tells.
/// </remarks>
internal sealed partial class ChunkCache : IChunkCache
{
    private const int LongestPoll = 20;

    // One that fails like this is not a disk to keep anything on.
    private const int MaxMismatches = 16;

    private readonly CacheSettings _settings;
    private readonly OpenedEntry _entry;
    private readonly ChunkMap _map;
    private readonly ChunkLayout _layout;
    private readonly Action<string> _report;
    private readonly ulong[] _verified;
    private readonly Dictionary<long, ChunkWord> _bad = [];
    private readonly HashSet<long> _claims = [];
    private readonly HashSet<long> _verifying = [];
    private readonly WaitQueue _verifyEnded = new();
    private readonly int _shift;
    private volatile bool _isGivenUp;
    private int _mismatches;
    private int _underWay;
    private bool _isDisposed;
    private bool _isClosed;

    private ChunkCache(CacheSettings settings, OpenedEntry entry, Action<string> report)
    {
        _settings = settings;
        _entry = entry;
        _report = report;
        _map = entry.Files.Map;
        _layout = _map.Layout;
        _shift = _layout.ChunkShift;
        NoteSurvey(entry.Survey);
        _segmentShift = int.Log2(_layout.ChunksPerSegment);
        _verified = new ulong[_layout.Chunks];
        _used = new bool[_layout.Segments];
        _stamps = new long[_layout.Segments];
    }

    public int ChunkBytes => _layout.ChunkBytes;

    public FileStorage File => _entry.Reader;

    /// <summary>Whether nothing is stored any more: the disk of the cache fails, and this process does without it.</summary>
    public bool IsGivenUp => _isGivenUp;

    /// <summary>Opens the entry of a base, which is made if there is none.</summary>
    /// <param name="settings">where, how many, how large</param>
    /// <param name="key">which base</param>
    /// <param name="report">told once of each trouble, in house style</param>
    /// <param name="isConfirmed">whether the source said just now that this is what it has; false if it is away</param>
    /// <returns>null, after a report, if it cannot be used: then there is no cache</returns>
    public static async LoopTask<ChunkCache?> OpenAsync(
        CacheSettings settings, CacheKey key, Action<string> report, bool isConfirmed = true)
    {
        ArgumentNullException.ThrowIfNull(settings);
        ArgumentNullException.ThrowIfNull(report);
        var opening = new CacheOpening(settings, key, isConfirmed);
        if (await LoopScheduler.Current.OffloadAsync(opening) < 0)
        {
            report(opening.Why!);
            return null;
        }

        var cache = new ChunkCache(settings, opening.Entry!, report);
        cache.KeepStampsAsync().Forget();
        return cache;
    }

    public bool IsThere(long offset, int length, out ulong mark)
    {
        mark = 0;
        if (offset < 0 || length <= 0 || offset > _layout.Length - length || _isGivenUp)
            return false;
        var last = (offset + length - 1) >> _shift;
        for (var chunk = offset >> _shift; chunk <= last; chunk++)
        {
            var word = _map[chunk];
            if (!word.IsValid || word.Raw != Volatile.Read(ref _verified[chunk]))
                return false;
            mark = Mix(mark, word);
            NoteUse(chunk);
        }

        return true;
    }

    public bool IsStill(long offset, int length, ulong mark)
    {
        if (_isGivenUp)
            return false;
        var now = 0ul;
        var last = (offset + length - 1) >> _shift;
        for (var chunk = offset >> _shift; chunk <= last; chunk++)
            now = Mix(now, _map[chunk]);
        return now == mark;
    }

    public bool IsStored(long chunk)
    {
        RequireChunk(chunk);
        return !_isGivenUp && IsUsable(chunk, _map[chunk]);
    }

    public async LoopTask<int> ReadAsync(long offset, NativeBuffer buffer)
    {
        var chunk = offset >> _shift;
        RequireChunk(chunk);
        Invariant.Holds(
            !buffer.IsEmpty && offset + buffer.Length <= (chunk << _shift) + _layout.BytesOf(chunk), "a read is inside one chunk", offset,
            buffer.Length);
        Begin();
        var result = await ReadStoredAsync(chunk, offset, buffer);
        End();
        return result;
    }

    public async LoopTask<int> ClaimAsync(long chunk)
    {
        RequireChunk(chunk);
        var began = Environment.TickCount64;
        for (var pause = 1; ; pause = Math.Min(pause * 2, LongestPoll))
        {
            if (IsStored(chunk))
                return 0;
            if (!_claims.Contains(chunk))
            {
                // Without files there is nothing to lock: each fetches for itself.
                var result = _isGivenUp ? 0 : _entry.Files.TryClaim(chunk);
                if (result is not (0 or -Errno.EAGAIN))
                {
                    // Fetched by each for itself from now on, and not stored: that would need the claim.
                    GiveUp($"chunks cannot be locked: {Errno.Text(result)}");
                    result = 0;
                }

                if (result == 0 && TakeClaim(chunk))
                    return 1;
                if (result == 0)
                    return 0;
            }

            if (Environment.TickCount64 - began >= _settings.ClaimPatience)
                return 0;
            await LoopScheduler.Current.DelayAsync(pause);
        }
    }

    public void Abandon(long chunk)
    {
        Invariant.Holds(_claims.Remove(chunk), "a claim is ended by who has it", chunk);
        if (!_isClosed)
            _entry.Files.Unclaim(chunk);
    }

    /// <summary>
    /// Nothing is there from now on. The files are let go of once all that is under way on the home loop has ended; no other loop may
    /// read any more.
    /// </summary>
    public void Dispose()
    {
        if (_isDisposed)
            return;
        _isDisposed = true;
        WriteStamps();
        _isGivenUp = true;
        CloseIfIdle();
    }

    private static ulong Mix(ulong mark, ChunkWord word) => BitOperations.RotateLeft((mark ^ word.Raw) * 0x9e3779b97f4a7c15, 29);

    private void Begin()
    {
        Invariant.Holds(!_isClosed, "nothing is asked of a cache that was closed");
        _underWay++;
    }

    private void End()
    {
        _underWay--;
        CloseIfIdle();
    }

    /// <summary>Not under a transfer that the kernel has not seen yet: the number of the file may be another's by then.</summary>
    private void CloseIfIdle()
    {
        if (!_isDisposed || _isClosed || _underWay > 0)
            return;
        lock (_counting)
        {
            _isClosed = true;
            _entry.Dispose();
        }
    }

    private async LoopTask<int> ReadStoredAsync(long chunk, long offset, NativeBuffer buffer)
    {
        while (!_isGivenUp)
        {
            var word = _map[chunk];
            if (!IsUsable(chunk, word))
                return 0;
            NoteUse(chunk);
            if (word.Raw == _verified[chunk])
                return await ReadFileAsync(offset, buffer) && _map[chunk] == word ? 1 : 0;
            if (_verifying.Add(chunk))
                return await VerifyAsync(chunk, word, offset, buffer);
            await _verifyEnded.WaitAsync();
        }

        return 0;
    }

    private bool IsUsable(long chunk, ChunkWord word) =>
        word.IsValid && (_bad.Count == 0 || !_bad.TryGetValue(chunk, out var bad) || bad != word);

    /// <summary>The lock is ours; what it is for may have been done by the one who had it.</summary>
    private bool TakeClaim(long chunk)
    {
        if (IsStored(chunk))
        {
            _entry.Files.Unclaim(chunk);
            return false;
        }

        _claims.Add(chunk);
        return true;
    }

    /// <summary>Reads a chunk that this process has not used yet, and compares it with its checksum.</summary>
    private async LoopTask<int> VerifyAsync(long chunk, ChunkWord word, long offset, NativeBuffer buffer)
    {
        var start = chunk << _shift;
        var pool = LoopScheduler.Current.Buffers;
        var whole = pool.Rent(_layout.BytesOf(chunk));
        var isRead = await ReadFileAsync(start, whole);
        var isRight = isRead && Crc32C.Of(whole.Span) == word.Checksum;

        // What was taken away or stored again meanwhile says nothing about the disk.
        var result = 0;
        if (isRead && _map[chunk] == word)
        {
            if (isRight)
                result = 1;
            else
                NoteMismatch(chunk, word);
        }

        if (result == 1)
        {
            Volatile.Write(ref _verified[chunk], word.Raw);
            whole.Span.Slice((int)(offset - start), buffer.Length).CopyTo(buffer.Span);
        }

        pool.Return(whole);
        _verifying.Remove(chunk);
        _verifyEnded.WakeAll();
        return result;
    }

    /// <summary>Not used again; whoever claims the chunk next replaces it.</summary>
    private void NoteMismatch(long chunk, ChunkWord word)
    {
        _bad[chunk] = word;
        if (++_mismatches > MaxMismatches)
            GiveUp($"more than {MaxMismatches} chunks were not what had been stored");
    }

    private async LoopTask<bool> ReadFileAsync(long offset, NativeBuffer buffer)
    {
        var result = await File.ReadAsync(offset, buffer);
        if (result < 0)
            GiveUp($"reading {EntryFiles.DataName} at {offset}: {Errno.Text(result)}");
        return result == 0;
    }

    private void GiveUp(string why)
    {
        if (_isGivenUp || _isDisposed)
            return;
        _isGivenUp = true;
        _report($"the cache {_entry.Files.Path} is not used any more: {why}");
    }

    private void RequireChunk(long chunk) =>
        Invariant.Holds(chunk >= 0 && chunk < _layout.Chunks, "a chunk is one of the base", chunk, _layout.Chunks);
}
