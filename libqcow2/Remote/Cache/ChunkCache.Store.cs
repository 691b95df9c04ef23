using System;
using System.Buffers.Binary;
using System.Threading;
using Qcow2Blk.Buffers;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Remote.Cache;

/// <summary>Storing chunks, and when they were last used.</summary>
internal sealed partial class ChunkCache
{
    private const int StampSeconds = 60;
    private const int FullPauseSeconds = 60;

    // Held while words are counted, and while their memory is given back.
    private readonly Lock _counting = new();
    private readonly int _segmentShift;
    private readonly bool[] _used;
    private readonly long[] _stamps;
    private long _pausedUntil;
    private bool _fullReported;
    private (long Time, long Bytes)? _counted;

    /// <summary>Counted at most once a second; large maps less often, as that takes a walk over them. Any thread.</summary>
    public long StoredBytes
    {
        get
        {
            lock (_counting)
            {
                var now = Environment.TickCount64;
                if (_isClosed || _isGivenUp)
                    return 0;
                if (_counted is not { } counted || now - counted.Time > Math.Max(1000, _layout.Chunks / 1000))
                    _counted = counted = (now, _map.Count().Stored);
                return counted.Bytes;
            }
        }
    }

    /// <returns>1 if it is stored; 0 if there is no room or the disk fails</returns>
    public async LoopTask<int> StoreAsync(long chunk, NativeBuffer bytes, bool pin)
    {
        RequireChunk(chunk);
        Invariant.Holds(_claims.Contains(chunk), "a chunk is stored by who has claimed it", chunk);
        Invariant.Holds(bytes.Length == _layout.BytesOf(chunk), "a chunk is stored whole", chunk, bytes.Length);
        var result = -Errno.EAGAIN;
        var isZero = !bytes.Span.ContainsAnyExcept((byte)0);
        if (!_isGivenUp && !IsFull && (isZero || HasRoom(chunk)))
        {
            Begin();
            result = await WriteChunkAsync(chunk, bytes, isZero, pin);
            End();
        }

        Abandon(chunk);
        return result == 0 ? 1 : 0;
    }

    private async LoopTask<int> WriteChunkAsync(long chunk, NativeBuffer bytes, bool isZero, bool pin)
    {
        // A word that is valid although the chunk is not as it says: others may have found it right.
        var result = _map[chunk].IsValid ? await ClearAsync(chunk) : 0;
        if (result < 0)
        {
            NoteFailure(chunk, result);
            return result;
        }

        result = isZero ? await WriteHoleAsync(chunk, bytes) : await WriteDataAsync(chunk, bytes);
        if (result == 0)
            result = await WriteWordAsync(chunk, _map[chunk].Stored(Crc32C.Of(bytes.Span), pin));
        if (result < 0)
        {
            NoteFailure(chunk, result);

            // A part of it may have found room.
            if (!_isGivenUp)
                _ = await _entry.Writer.PunchAsync(chunk << _shift, _layout.PaddedBytesOf(chunk));
            return result;
        }

        _bad.Remove(chunk);
        if (!isZero)
            NoteAdded(chunk);
        var segment = (int)(chunk >> _segmentShift);
        _used[segment] = true;
        if (_settings.Now - _stamps[segment] >= StampSeconds)
            await StampAsync(segment);
        return 0;
    }

    private async LoopTask<int> ClearAsync(long chunk)
    {
        var result = await WriteWordAsync(chunk, _map[chunk].Cleared());
        return result < 0 ? result : await _entry.Map.FlushAsync();
    }

    /// <summary>
    /// Zeroes take no room: the checksum of the word tells whether the hole is one, as it does with bytes. What was there before, of a
    /// chunk that was given up or found bad, goes.
    /// </summary>
    private async LoopTask<int> WriteHoleAsync(long chunk, NativeBuffer bytes)
    {
        var result = await _entry.Writer.PunchAsync(chunk << _shift, _layout.PaddedBytesOf(chunk));
        return result == -Errno.EOPNOTSUPP ? await WriteDataAsync(chunk, bytes) : result;
    }

    /// <summary>The bytes are on the disk, or in its own cache, when this ends with 0.</summary>
    private async LoopTask<int> WriteDataAsync(long chunk, NativeBuffer bytes)
    {
        var file = _entry.Writer;
        var padded = _layout.PaddedBytesOf(chunk);
        var pool = LoopScheduler.Current.Buffers;
        var whole = bytes;
        if (padded != bytes.Length)
        {
            whole = pool.Rent(padded);
            bytes.Span.CopyTo(whole.Span);
            whole.Slice(bytes.Length).Clear();
        }

        var result = await file.WriteAsync(chunk << _shift, whole);
        if (result == 0 && !file.Direct && !file.IsMemory)
            result = await file.FlushAsync();
        if (whole != bytes)
            pool.Return(whole);
        return result;
    }

    private LoopTask<int> WriteWordAsync(long chunk, ChunkWord word) => WriteMapAsync(ChunkLayout.WordOffset(chunk), word.Raw);

    private LoopTask<int> StampAsync(int segment)
    {
        _stamps[segment] = _settings.Now;
        return WriteMapAsync(_layout.StampOffset(segment), (ulong)_stamps[segment]);
    }

    private async LoopTask<int> WriteMapAsync(long offset, ulong value)
    {
        var pool = LoopScheduler.Current.Buffers;
        var buffer = pool.Rent(sizeof(ulong));
        BinaryPrimitives.WriteUInt64LittleEndian(buffer.Span, value);
        var result = await _entry.Map.WriteAsync(offset, buffer);
        pool.Return(buffer);
        return result;
    }

    private void NoteFailure(long chunk, int error)
    {
        if (error is not (-Errno.ENOSPC or -Errno.EDQUOT))
        {
            GiveUp($"writing chunk {chunk}: {Errno.Text(error)}");
            return;
        }

        _pausedUntil = _settings.Now + FullPauseSeconds;
        if (!_fullReported)
            _report($"the cache {_entry.Files.Path} keeps nothing more for now: {Errno.Text(error)}");
        _fullReported = true;
    }

    private void NoteUse(long chunk)
    {
        // Looked at before it is written: loops that read the same segment must not take this line of memory from each other.
        ref var used = ref _used[chunk >> _segmentShift];
        if (!used)
            used = true;
    }

    /// <summary>Tells other processes now and then which segments this one has used.</summary>
    private async LoopTask<int> KeepStampsAsync()
    {
        while (true)
        {
            await LoopScheduler.Current.DelayAsync(StampSeconds * 1000);
            for (var segment = 0; segment < _used.Length; segment++)
            {
                if (_isGivenUp)
                    return 0;
                if (!_used[segment])
                    continue;
                _used[segment] = false;
                Begin();
                _ = await StampAsync(segment);
                End();
            }
        }
    }

    private void WriteStamps()
    {
        for (var segment = 0; segment < _used.Length && !_isGivenUp; segment++)
        {
            if (_used[segment])
                _ = _map.WriteLastUse(segment, _settings.Now);
        }
    }
}
