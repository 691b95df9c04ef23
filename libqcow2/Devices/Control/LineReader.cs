using System;
using System.Collections.Generic;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Devices.Control;

/// <summary>Lines from a descriptor, of bounded length, with a deadline for each.</summary>
/// <param name="fd">what to read from</param>
/// <param name="maxBytes">of a line</param>
/// <param name="descriptors">gets the descriptors that come with the lines; null where fd is no socket</param>
internal sealed class LineReader(int fd, int maxBytes, ICollection<int>? descriptors = null)
{
    private byte[] _buffer = new byte[Math.Min(maxBytes, 4096)];
    private int _filled;

    internal enum Outcome
    {
        Line,
        End,
        TooLong,
        TimedOut,
        Failed,
    }

    /// <param name="milliseconds">for the whole line; negative: for ever</param>
    /// <param name="line">the line without its newline</param>
    internal Outcome Next(int milliseconds, out byte[] line)
    {
        line = [];
        long deadline = Environment.TickCount64 + milliseconds;
        while (true)
        {
            int end = _buffer.AsSpan(0, _filled).IndexOf((byte)'\n');
            if (end >= 0)
            {
                line = Take(end);
                return Outcome.Line;
            }
            if (_filled == maxBytes)
                return Outcome.TooLong;
            int left = milliseconds < 0 ? -1 : (int)Math.Max(0, deadline - Environment.TickCount64);
            if (!UnixSocket.WaitReadable(fd, left))
                return Outcome.TimedOut;
            if (_filled == _buffer.Length)
                Array.Resize(ref _buffer, Math.Min(maxBytes, _buffer.Length * 2));
            Span<byte> room = _buffer.AsSpan(_filled);
            int count = descriptors is null ? Unistd.Read(fd, room) : UnixSocket.Receive(fd, room, descriptors);
            if (count <= 0)
                return count == 0 ? Outcome.End : Outcome.Failed;
            _filled += count;
        }
    }

    private byte[] Take(int end)
    {
        byte[] line = _buffer.AsSpan(0, end).ToArray();
        _filled -= end + 1;
        _buffer.AsSpan(end + 1, _filled).CopyTo(_buffer);
        return line;
    }
}
