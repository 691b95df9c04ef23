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
    private readonly LineBuffer _buffer = new(maxBytes);

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
        var deadline = Environment.TickCount64 + milliseconds;
        while (true)
        {
            if (_buffer.Take() is { } whole)
            {
                line = whole;
                return Outcome.Line;
            }

            if (_buffer.IsTooLong)
                return Outcome.TooLong;
            var left = milliseconds < 0 ? -1 : (int)Math.Max(0, deadline - Environment.TickCount64);
            if (!UnixSocket.WaitReadable(fd, left))
                return Outcome.TimedOut;
            var room = _buffer.Room().Span;
            var count = descriptors is null ? Unistd.Read(fd, room) : UnixSocket.Receive(fd, room, descriptors);
            if (count <= 0)
                return count == 0 ? Outcome.End : Outcome.Failed;
            _buffer.Fill(count);
        }
    }
}
