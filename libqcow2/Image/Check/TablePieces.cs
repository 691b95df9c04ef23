using System;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Check;

/// <summary>
/// Reads a table piece by piece and leaves out the holes of the file, where all entries are 0: what tables claim costs
/// nothing, only what is stored.
/// </summary>
/// <example><code>
/// pieces.Begin(offset, length);
/// while ((count = await pieces.NextAsync()) > 0)
///     ... pieces.Bytes ...
/// </code></example>
internal sealed class TablePieces(IBlockStorage file) : IDisposable
{
    private const int Longest = 64 << 10;

    private readonly TableBuffer _buffer = new(Longest);
    private long _next;
    private long _end;
    private int _count;

    /// <summary>Where in the file the piece begins.</summary>
    public long Offset { get; private set; }

    /// <summary>The piece: whole entries.</summary>
    public Span<byte> Bytes => _buffer.Span[.._count];

    public ulong this[int index] => _buffer[index];

    /// <summary>From the first entry of a table on. What lies past the end of the file is zeroes.</summary>
    /// <param name="offset">a multiple of 512</param>
    /// <param name="length">bytes, a multiple of 8</param>
    public void Begin(long offset, long length) =>
        (_next, _end) = (offset, offset + Math.Clamp(length, 0, Math.Max(0, file.Length - offset)) / 8 * 8);

    /// <returns>bytes of the next piece, 0 at the end, or a negative errno</returns>
    public async LoopTask<int> NextAsync()
    {
        FileRange range = default;
        while (_next < _end && (range = file.FindRange(_next)).IsHole)
            _next = range.End;
        if (_next >= _end)
            return 0;
        Offset = _next;
        _count = (int)Math.Min(Longest, Math.Min(range.End, _end) - _next);
        var error = await file.ReadAsync(Offset, _buffer.Take(_count));
        _next += _count;
        return error < 0 ? error : _count;
    }

    public void Dispose() => _buffer.Dispose();
}
