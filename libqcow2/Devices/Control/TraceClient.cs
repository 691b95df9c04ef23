using System;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Devices.Control;

/// <summary>A connection that is told of each request of a device.</summary>
internal sealed class TraceClient : IDisposable
{
    private const int AnswerMilliseconds = 10_000;

    private readonly int _fd;
    private readonly LineReader _reader;

    private TraceClient(int fd)
    {
        _fd = fd;
        _reader = new LineReader(fd, ControlReply.MaxBytes);
    }

    /// <summary>Whether the device has ended, or its server.</summary>
    public bool HasEnded { get; private set; }

    /// <exception cref="OutcomeException">nobody is there, or the server refuses</exception>
    public static TraceClient Connect(RuntimeDirectory directory, string name)
    {
        ArgumentNullException.ThrowIfNull(directory);
        var what = $"cannot trace {name}";
        var fd = UnixSocket.Connect(directory.SocketOf(name), wait: false);
        if (fd < 0)
            throw new OutcomeException(OutcomeKind.Failed, what, $"its server does not answer: {Errno.Text(fd)}");
        var client = new TraceClient(fd);
        try
        {
            client.Begin(what);
            return client;
        }
        catch
        {
            client.Dispose();
            throw;
        }
    }

    /// <summary>The next line of the trace.</summary>
    /// <param name="patience">how long to wait for one</param>
    /// <returns>null if there was none in that time, or the trace has ended</returns>
    public byte[]? Next(TimeSpan patience)
    {
        var outcome = _reader.Next((int)patience.TotalMilliseconds, out var line);
        HasEnded = outcome is not (LineReader.Outcome.Line or LineReader.Outcome.TimedOut);
        return outcome == LineReader.Outcome.Line ? line : null;
    }

    public void Dispose() => _ = Unistd.Close(_fd);

    private void Begin(string what)
    {
        var request = new ControlRequest(ControlVerb.Trace, TimeSpan.Zero, Force: false, AllowShrink: false);
        _ = UnixSocket.SendAll(_fd, request.ToLine());
        if (_reader.Next(AnswerMilliseconds, out var line) != LineReader.Outcome.Line)
            throw new OutcomeException(OutcomeKind.Failed, what, "its server does not answer");
        var answer = ControlReply.Parse(line).Result;
        if (!answer.Succeeded)
            throw new OutcomeException(answer.Kind, answer.What ?? what, answer.Why ?? "its server refuses", answer.Hint);
    }
}
