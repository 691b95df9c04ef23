using System;
using System.Collections.Generic;

namespace Qcow2Blk.Image.Check;

/// <summary>An L2 table that L1 entries name.</summary>
/// <param name="Offset">where it is, in bytes</param>
/// <param name="Times">how often it is named, by all L1 tables</param>
/// <param name="ActiveTimes">how often the active L1 table names it</param>
internal readonly record struct L2TableUse(long Offset, long Times, long ActiveTimes);

/// <summary>
/// The L2 tables that L1 tables name, each once and in the order of the file: however often one is named, it is read
/// once, and the file is read from front to back.
/// </summary>
internal sealed class L2TableList
{
    private const int FoldLimit = 1 << 16;

    private readonly List<(long Offset, bool Active)> _named = [];
    private List<L2TableUse> _tables = [];
    private int _foldAt = FoldLimit;

    /// <summary>An L1 entry names a table.</summary>
    public void Add(long offset, long times, bool active)
    {
        for (long time = 0; time < times; time++)
        {
            _named.Add((offset, active));
            if (_named.Count >= _foldAt)
                Fold();
        }
    }

    /// <summary>All tables, by their offset.</summary>
    public List<L2TableUse> Take()
    {
        Fold();
        return _tables;
    }

    private void Fold()
    {
        _named.Sort();
        var merged = new List<L2TableUse>(_tables.Count);
        int old = 0, next = 0;
        while (old < _tables.Count || next < _named.Count)
        {
            var offset = Math.Min(old < _tables.Count ? _tables[old].Offset : long.MaxValue,
                next < _named.Count ? _named[next].Offset : long.MaxValue);
            var use = old < _tables.Count && _tables[old].Offset == offset ? _tables[old++] : new L2TableUse(offset, 0, 0);
            for (; next < _named.Count && _named[next].Offset == offset; next++)
                use = use with { Times = use.Times + 1, ActiveTimes = use.ActiveTimes + (_named[next].Active ? 1 : 0) };
            merged.Add(use);
        }

        (_tables, _foldAt) = (merged, Math.Max(FoldLimit, merged.Count));
        _named.Clear();
    }
}
