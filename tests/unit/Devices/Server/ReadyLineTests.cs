using System;
using System.Collections.Generic;
using System.Text;
using System.Threading;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Logging;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Server;

/// <summary>Starter and server may be of different versions: progress is told only where it is understood.</summary>
public sealed class ReadyLineTests
{
    /// <summary>A server made of a shell: what it writes to descriptor 4 depends on the variable that asks for progress.</summary>
    private static ServerProgram Shell(string script) => new("/bin/sh", ["-c", script]);

    private static OutcomeException Start(string script, Action<string, double>? progress) => Assert.Throws<OutcomeException>(() =>
        BackgroundServer.Start(new AttachOptions { Image = "/nonexistent", SocketPath = "/nonexistent.sock" }, Shell(script),
            Timeout.InfiniteTimeSpan, progress: progress));

    private const string Refuse = """printf '{"ok":false,"kind":"failed","what":"w","why":"y"}\n' >&4""";

    [Fact]
    public void Progress_comes_before_the_ready_line()
    {
        var heard = new List<(string, double)>();

        var error = Start($$"""
            cat <&3 >/dev/null; printf '{"progress":"repairing","fraction":0.25}\n{"progress":"checking","fraction":0.5}\n' >&4; {{Refuse}}
            """, (what, fraction) => heard.Add((what, fraction)));

        Assert.Equal(("w", "y"), (error.What, error.Why));
        Assert.Equal([("repairing", 0.25), ("checking", 0.5)], heard);
    }

    [Fact]
    public void Server_is_asked_for_progress_only_by_a_starter_that_takes_it()
    {
        var script = $"cat <&3 >/dev/null; [ -z \"${ReadyLine.ProgressVariable}\" ] || printf '{{\"progress\":\"x\"}}\\n' >&4; {Refuse}";
        var heard = 0;

        Assert.Equal("y", Start(script, null).Why);
        Assert.Equal("y", Start(script, (_, _) => heard++).Why);

        Assert.Equal(1, heard);
    }

    [Fact]
    public void Server_of_an_older_version_tells_none_and_is_understood() =>
        Assert.Equal("y", Start($"cat <&3 >/dev/null; {Refuse}", (_, _) => Assert.Fail("no progress was told")).Why);

    [Fact]
    public void Line_of_progress_is_read_as_it_was_written()
    {
        Assert.True(ReadyLine.TryParseProgress(ReadyLine.ProgressLine("replaying", 0.12345), out var what, out var fraction));
        Assert.Equal(("replaying", 0.1234), (what, fraction));
        var refused = new ReadyLine(null, new OutcomeException(OutcomeKind.Busy, "a", "b")).ToLine();
        Assert.False(ReadyLine.TryParseProgress(refused, out _, out _));
        Assert.False(ReadyLine.TryParseProgress(Encoding.UTF8.GetBytes("[]"), out _, out _));
    }

    [Fact]
    public void Work_after_the_end_of_the_waiting_has_no_listener()
    {
        var heard = 0;
        var log = new ProgressLog(new NoLog(), (_, _) => heard++);
        log.Progress("replaying", 0.5);
        log.End();
        Thread.Sleep(300);

        log.Progress("replaying", 0.6);

        Assert.Equal(1, heard);
    }

    [Fact]
    public void Progress_is_reported_a_few_times_a_second_however_often_it_is_said()
    {
        var heard = 0;
        var log = new ProgressLog(new NoLog(), (_, _) => heard++);
        var end = Environment.TickCount64 + 500;

        while (Environment.TickCount64 < end)
            log.Progress("replaying", 0.5);

        Assert.InRange(heard, 2, 4);
    }
}
