using System;
using System.Collections.Generic;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Check;

/// <summary>Reads whole L2 tables, as many at once as follow each other in the file. Holes are not read.</summary>
internal sealed class L2Reader(IBlockStorage file, int tableBytes) : IDisposable
{
    private const int Longest = 1 << 20;

    private readonly TableBuffer _buffer = new(Math.Max(Longest, tableBytes));
    private long _start;
    private int _length;

    /// <summary>Reads tables from one of a list on.</summary>
    /// <returns>how many were read, at least one; or a negative errno</returns>
    public async LoopTask<int> ReadAsync(IReadOnlyList<L2TableUse> tables, int index)
    {
        _start = tables[index].Offset;
        var count = 1;
        while (index + count < tables.Count && (count + 1L) * tableBytes <= _buffer.Capacity
            && tables[index + count].Offset == _start + (long)count * tableBytes)
        {
            count++;
        }

        _length = count * tableBytes;
        if (_start >= file.Length || file.FindRange(_start) is { IsHole: true, End: var end } && end >= _start + _length)
        {
            _length = 0;
            return count;
        }

        var error = await file.ReadAsync(_start, _buffer.Take(_length));
        return error < 0 ? error : count;
    }

    /// <summary>A table that was read; empty if it is a hole.</summary>
    public Span<byte> Bytes(long offset) =>
        _length == 0 ? [] : _buffer.Span.Slice((int)(offset - _start), tableBytes);

    /// <summary>What the tables were read into.</summary>
    public TableBuffer Buffer => _buffer;

    /// <summary>Where a table begins in <see cref="Buffer"/>.</summary>
    public int Start(long offset) => (int)(offset - _start);

    public void Dispose() => _buffer.Dispose();
}
