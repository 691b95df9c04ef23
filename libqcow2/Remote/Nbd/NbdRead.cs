using System;
using System.Collections.Generic;
using Qcow2Blk.Buffers;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Remote.Nbd;

/// <summary>A read, or a block status, that a server was asked for. Used again and again by one connection.</summary>
internal sealed class NbdRead
{
    /// <summary>Gaps that a reply may have while it comes: no server sends it in so many pieces out of order.</summary>
    private const int MostPieces = 1024;

    private readonly List<(int Start, int End)> _filled = [];
    private readonly Action _answer;
    private readonly Action<NbdRead> _free;
    private ManualSource<FetchResult>? _source;
    private FetchResult _result;

    /// <param name="slot">its place in the connection's table</param>
    /// <param name="free">told when it can be used again</param>
    public NbdRead(int slot, Action<NbdRead> free)
    {
        Slot = slot;
        _free = free;
        _answer = Answer;
    }

    public int Slot { get; }

    /// <summary>What the replies name; never used twice on a connection.</summary>
    public ulong Cookie { get; private set; }

    public long Offset { get; private set; }

    public NativeBuffer Buffer { get; private set; }

    /// <summary>What it asks if it asks for no bytes; null if it does.</summary>
    public StatusQuestion? Question { get; private set; }

    /// <summary>When it was sent, of <see cref="Environment.TickCount64"/>.</summary>
    public long Began { get; private set; }

    /// <summary>Whether its reply has not ended.</summary>
    public bool IsUnderWay { get; private set; }

    /// <summary>The first error in the reply; null if none has come.</summary>
    public FetchResult? Error { get; set; }

    /// <summary>Whether all that was asked for has come.</summary>
    public bool IsWhole => Question is { } question ? question.IsAnswered : _filled is [(0, var end)] && end == Buffer.Length;

    public LoopTask<FetchResult> Begin(ulong cookie, long offset, NativeBuffer buffer, StatusQuestion? question = null)
    {
        (Cookie, Offset, Buffer, Began, Error, Question) = (cookie, offset, buffer, Environment.TickCount64, null, question);
        _filled.Clear();
        IsUnderWay = true;
        _source = ManualSource<FetchResult>.Rent();
        return _source.Task;
    }

    /// <summary>Notes that a part of a reply comes, or that it is zeroes.</summary>
    /// <param name="offset">in the export</param>
    /// <param name="length">not 0</param>
    /// <returns>null, or what is wrong with it; only then is the part not in the buffer</returns>
    public string? Claim(ulong offset, ulong length)
    {
        // Unsigned, and the length first: nothing here can wrap.
        if (length == 0 || length > (ulong)Buffer.Length || offset < (ulong)Offset
            || offset - (ulong)Offset > (ulong)Buffer.Length - length)
        {
            return $"its reply has {length} bytes at {offset}, and was asked for {Buffer.Length} at {Offset}";
        }

        var start = (int)(offset - (ulong)Offset);
        var end = start + (int)length;
        var next = 0;
        while (next < _filled.Count && _filled[next].Start < start)
            next++;
        if ((next > 0 && _filled[next - 1].End > start) || (next < _filled.Count && _filled[next].Start < end))
            return $"its reply has the bytes at {offset} twice";
        var joinsBefore = next > 0 && _filled[next - 1].End == start;
        var joinsAfter = next < _filled.Count && _filled[next].Start == end;
        if (joinsBefore)
        {
            _filled[next - 1] = (_filled[next - 1].Start, joinsAfter ? _filled[next].End : end);
            if (joinsAfter)
                _filled.RemoveAt(next);
        }
        else if (joinsAfter)
        {
            _filled[next] = (start, _filled[next].End);
        }
        else if (_filled.Count == MostPieces)
        {
            return $"its reply comes in more than {MostPieces} pieces out of order";
        }
        else
        {
            _filled.Insert(next, (start, end));
        }

        return null;
    }

    /// <summary>The part of the buffer that a claimed part of the reply goes into.</summary>
    public NativeBuffer At(ulong offset, uint length) => Buffer.Slice((int)(offset - (ulong)Offset), (int)length);

    /// <summary>Ends the read; whoever waits hears of it later, not on this stack. Nothing writes to the buffer any more.</summary>
    public void End(LoopScheduler loop, in FetchResult result)
    {
        IsUnderWay = false;
        _result = result;
        loop.Post(_answer);
    }

    private void Answer()
    {
        var (source, result) = (_source!, _result);
        (_source, Buffer, Question) = (null, default, null);
        _free(this);
        source.SetResult(result);
    }
}
