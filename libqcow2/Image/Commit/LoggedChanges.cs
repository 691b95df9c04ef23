using System;
using System.Collections.Generic;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Log;

namespace Qcow2Blk.Image.Commit;

/// <summary>The records of a log, by the entry that they change.</summary>
internal sealed class LoggedChanges
{
    private readonly List<(LogRecord Record, ulong Position)> _records = [];
    private readonly List<(int First, int Count)> _entries = [];
    private readonly ulong _capturedEnd;

    public LoggedChanges(RecoveryLog log)
    {
        _capturedEnd = log.Header.CapturedEnd;
        for (var position = log.Header.Start; position != log.Header.End; position++)
            _records.Add((log[position], position));

        // Those of one entry together, in their order; the L1 table last.
        _records.Sort(static (left, right) => (left.Record.Has(LogRecord.InL1), left.Record.Index, left.Position)
            .CompareTo((right.Record.Has(LogRecord.InL1), right.Record.Index, right.Position)));
        for (int first = 0, next = 0; first < _records.Count; first = next)
        {
            while (next < _records.Count && IsSameEntry(_records[first].Record, _records[next].Record))
                next++;
            _entries.Add((first, next - first));
        }
    }

    /// <summary>How many entries change, of all tables.</summary>
    public int Count => _entries.Count;

    /// <summary>Entries of L2 tables that change, by guest cluster.</summary>
    public IEnumerable<LoggedEntry> Clusters => Entries(inL1: false);

    public IEnumerable<LoggedEntry> L1Entries => Entries(inL1: true);

    private IEnumerable<LoggedEntry> Entries(bool inL1)
    {
        foreach (var (first, count) in _entries)
        {
            if (_records[first].Record.Has(LogRecord.InL1) == inL1)
                yield return new LoggedEntry(_records, first, count, _capturedEnd);
        }
    }

    private static bool IsSameEntry(in LogRecord left, in LogRecord right) =>
        left.Index == right.Index && left.Has(LogRecord.InL1) == right.Has(LogRecord.InL1);
}

/// <summary>What one entry was, and what it became, step by step.</summary>
internal readonly struct LoggedEntry(List<(LogRecord Record, ulong Position)> records, int first, int count, ulong capturedEnd)
{
    /// <summary>The guest cluster, or the index in the L1 table.</summary>
    public long Index => records[first].Record.Index;

    public int Count => count;

    /// <summary>What it was when the last commit ended.</summary>
    public StoredL2Entry Old => records[first].Record.Old;

    /// <summary>What the dead server had made of it.</summary>
    public StoredL2Entry New => records[first + count - 1].Record.New;

    public LogRecord this[int step] => records[first + step].Record;

    /// <summary>Whether a commit that had begun may have written the step to the file.</summary>
    public bool IsCaptured(int step) => records[first + step].Position < capturedEnd;

    /// <summary>Whether a server of ours can have left this value in the file.</summary>
    public bool CanBeInFile(in StoredL2Entry found)
    {
        if (found == Old)
            return true;
        for (var step = 0; step < count && IsCaptured(step); step++)
        {
            if (found == this[step].New)
                return true;
        }

        return false;
    }

    /// <summary>Whether each step begins where the one before ended.</summary>
    public bool IsWhole()
    {
        for (var step = 1; step < count; step++)
        {
            if (this[step].Old != this[step - 1].New)
                return false;
        }

        return true;
    }
}
