using System;

namespace Qcow2Blk.Devices.Control;

/// <summary>Bytes that came and are not yet a line. Grows with what comes, up to the longest line there may be.</summary>
/// <param name="maxBytes">of a line with its newline</param>
internal sealed class LineBuffer(int maxBytes)
{
    private byte[] _bytes = new byte[Math.Min(maxBytes, 4096)];
    private int _filled;

    /// <summary>Whether nothing has come after the lines that were taken.</summary>
    internal bool IsEmpty => _filled == 0;

    /// <summary>Whether a line has come whole.</summary>
    internal bool HasLine => End >= 0;

    /// <summary>The buffer is full, and no line ends in it.</summary>
    internal bool IsTooLong => _filled == maxBytes && !HasLine;

    private int End => _bytes.AsSpan(0, _filled).IndexOf((byte)'\n');

    /// <summary>Where the next bytes go; empty if there may be no more before a line is taken.</summary>
    internal Memory<byte> Room()
    {
        if (_filled == _bytes.Length)
            Array.Resize(ref _bytes, Math.Min(maxBytes, _bytes.Length * 2));
        return _bytes.AsMemory(_filled);
    }

    /// <summary>So many bytes came into <see cref="Room"/>.</summary>
    internal void Fill(int count) => _filled += count;

    /// <returns>the first line without its newline; null if none has come whole</returns>
    internal byte[]? Take()
    {
        var end = End;
        if (end < 0)
            return null;
        var line = _bytes.AsSpan(0, end).ToArray();
        _filled -= end + 1;
        _bytes.AsSpan(end + 1, _filled).CopyTo(_bytes);
        return line;
    }
}
