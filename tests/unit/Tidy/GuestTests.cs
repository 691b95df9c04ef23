using System;
using System.Linq;
using System.Text.RegularExpressions;
using Xunit;

namespace Qcow2Blk.Tests.Tidy;

/// <summary>The library is a guest in the process of another program: what belongs to the whole process it leaves alone.</summary>
public sealed partial class GuestTests
{
    /// <summary>Where a process is all our own: how a server's or supervisor's life begins.</summary>
    private static readonly string[] s_own =
    [
        "libqcow2/Devices/OutOfMemory.cs", "libqcow2/Devices/Options/SocketActivation.cs", "libqcow2/Devices/Server/StartPipe.cs",
        "libqcow2/Devices/Server/ServiceNotification.cs", "libqcow2/Interop/Signals.cs",
    ];

    [Fact]
    public void Library_takes_no_signal_no_standard_stream_and_no_child_by_the_runtime()
    {
        var found = SourceTree.Files("libqcow2", "*.cs").Except(s_own).SelectMany(file => Taken().Matches(SourceTree.Read(file))
            .Select(match => $"{file}: {match.Value}"));
        Assert.True(!found.Any(), string.Join(Environment.NewLine, found));
    }

    // The class Process and the console put handlers of their own in place, for SIGCHLD, SIGCONT and others.
    [GeneratedRegex(@"\bPosixSignalRegistration\b|\bConsole\.|\bProcess\.(Start|GetCurrentProcess|GetProcess)|\bnew Process\b"
        + @"|\bEnvironment\.(Exit|SetEnvironmentVariable)\b|\bIgnoreBrokenPipes\b|\bSetCurrentDirectory\b")]
    private static partial Regex Taken();
}
