using System;
using System.Diagnostics;
using Qcow2Blk.Storage;
using Xunit;

namespace Qcow2Blk.Tests.Storage;

/// <summary>A process that was killed counts as dead from that moment, however long the kernel takes to end it.</summary>
public sealed class ProcessEndTests
{
    // Of a server of ours in its sleep, shortened; the name is the worst there can be.
    private const string Status = "Name:\tqcow2blk\nState:\tS (sleeping)\nSigQ:\t0/15000\nSigPnd:\t0000000000000000\n"
        + "ShdPnd:\t0000000000000000\nSigBlk:\t0000000000000000\n";
    private const string Stat = "4711 (a) R 1) S) S 1 4711 4711 0 -1 4194560 911 0 0 0 3 1 0 0 20 0 9 0 151 0 0 18446744073709551615";

    [Theory]
    [InlineData(") S 1 ", ") S 1 ", false)]
    [InlineData(") S 1 ", ") D 1 ", false)] // waits for its disk
    [InlineData(") S 1 ", ") T 1 ", false)] // stopped by somebody who may let it go on
    [InlineData(") S 1 ", ") Z 1 ", true)]
    [InlineData(") S 1 ", ") X 1 ", true)]
    [InlineData("4194560", "4194564", true)] // PF_EXITING
    [InlineData("4194560", "4195584", true)] // PF_SIGNALED
    [InlineData("SigPnd:\t0000000000000000", "SigPnd:\t0000000000000100", true)]
    [InlineData("ShdPnd:\t0000000000000000", "ShdPnd:\t0000000000000100", true)]
    [InlineData("ShdPnd:\t0000000000000000", "ShdPnd:\t0000000000014007", false)] // SIGTERM, SIGCHLD and others
    [InlineData("SigBlk:\t0000000000000000", "SigBlk:\t0000000000000100", false)]
    public void Only_what_cannot_run_again_has_begun_to_end(string from, string to, bool ended) =>
        Assert.Equal(ended, ProcessEnd.HasBegun(Replace(Stat, from, to), Replace(Status, from, to)));

    [Fact]
    public void Processes_of_this_machine_are_told_apart()
    {
        using var child = Process.Start("sleep", "1000");
        Assert.False(ProcessEnd.HasBegun(child.Id));
        Assert.False(ProcessEnd.HasBegun(Environment.ProcessId));
        child.Kill();
        Assert.True(ProcessEnd.HasBegun(child.Id)); // At once, ended or not.
        child.WaitForExit();
        Assert.True(ProcessEnd.HasBegun(child.Id));
    }

    private static string Replace(string text, string from, string to)
    {
        var at = text.LastIndexOf(from, StringComparison.Ordinal);
        return at < 0 ? text : text[..at] + to + text[(at + from.Length)..];
    }
}
