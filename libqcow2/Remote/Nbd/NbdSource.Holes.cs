using System;
using System.Collections.Generic;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Remote.Nbd;

/// <summary>
/// What the server says of holes. It is asked before a read, for a large part at a time, and what it says is kept as long as it
/// cannot have become another server. Whatever goes wrong with that, reads go on without.
/// </summary>
internal sealed partial class NbdSource
{
    /// <summary>Connections that may be lost in a row while such a question is open.</summary>
    private const int MostLosses = 3;

    /// <summary>Questions for one read, of a server that answers them in small pieces.</summary>
    private const int MostQuestions = 4;

    private readonly HashSet<long> _asked = [];
    private readonly WaitQueue _told = new();
    private ZeroMap? _zeroes;
    private bool _asksForHoles;
    private int _losses;

    /// <summary>Whether the server said that a range is zeroes; asks it if it has not been.</summary>
    /// <returns>null if the range is to be read; or what the read ends with</returns>
    private async LoopTask<FetchResult?> FindZeroesAsync(long offset, int length)
    {
        for (var i = 0; i < MostQuestions; i++)
        {
            // Without a connection nobody knows what is there.
            if (_zeroes is not { } map || _open.Count == 0 || _final is not null || _isClosed)
                return null;
            if (map.Find(offset, length, out var unknown) is var found && found != ZeroFinding.Unknown)
                return found == ZeroFinding.Zeroes ? FetchResult.Zeroes : null;
            var page = unknown / ZeroMap.PageBytes;
            if (!_asked.Contains(page))
            {
                if (await AskAsync(map, unknown, page) is { } lost)
                    return lost;
                continue;
            }

            while (_asked.Contains(page))
                await _told.WaitAsync();
        }

        return null;
    }

    /// <returns>null; or why the connection was lost</returns>
    private async LoopTask<FetchResult?> AskAsync(ZeroMap map, long offset, long page)
    {
        if (Choose() is not { } connection)
            return null;
        if (connection.Export!.AllocationContext is not { } context)
        {
            // One of several servers behind one address: what the others say need not be true of this one.
            _zeroes = null;
            return null;
        }

        _asked.Add(page);
        var end = Math.Min((page + 1) * ZeroMap.PageBytes, map.Length);
        var result = await connection.AskAsync(new StatusQuestion(map, context, offset, (int)(end - offset)));
        _asked.Remove(page);
        _told.WakeAll();
        if (result.IsDone)
            _losses = 0;
        else if (!_isClosed && _final is null)
            NoteUnanswered(map, result, connection.IsOpen);
        return result.IsDone || connection.IsOpen ? null : result with { Why = $"{Name}: {result.Why}" };
    }

    private void NoteUnanswered(ZeroMap map, FetchResult result, bool isError)
    {
        if (isError && _zeroes == map)
        {
            _zeroes = null;
            _report($"{Name}: its holes are fetched like data: {result.Why}");
        }
        else if (!isError && ++_losses == MostLosses)
        {
            _asksForHoles = false;
            _zeroes = null;
            _report($"{Name}: its holes are fetched like data from now on: {result.Why}, {MostLosses} times when it was asked for them");
        }
    }

    /// <summary>The first connection, or the first again: what is there may be another disk that looks the same.</summary>
    private void ForgetHoles(RemoteExport export) =>
        _zeroes = _asksForHoles && export.AllocationContext is not null ? new ZeroMap(export.Size) : null;
}
