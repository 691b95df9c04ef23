using System;
using System.IO;
using System.Text;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Interop;
using Qcow2Blk.Tests.Cli;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Server;

/// <summary>A block device that another program wants gets its server by a process between, and that program no child that stays.</summary>
public sealed class LauncherTests : IDisposable
{
    private readonly StateFiles _files = new();

    public void Dispose() => _files.Dispose();

    private AttachOptions Options => new() { Image = Path.Combine(_files.Registry.Directory.Path, "missing.qcow2") };

    private static ServerProgram Shell(string script) => new("/bin/sh", ["-c", script]) { IsSilent = true };

    private DeviceRecord Start(string script) => Launcher.Start(Options, Shell(script), _files.Registry);

    [Fact]
    public void Device_is_what_the_process_between_says_and_that_is_waited_for()
    {
        var record = _files.Device("web");
        var line = Encoding.UTF8.GetString(new ReadyLine(record, null).ToLine()).TrimEnd();
        var pidFile = Path.Combine(_files.Registry.Directory.Path, "pid");

        var started = Start($"echo $$ > '{pidFile}'; cat <&3 > /dev/null; echo '{line}' >&4");

        Assert.Equal((record.Name, record.DevicePath, record.Started), (started.Name, started.DevicePath, started.Started));
        Assert.Null(ProcessIdentity.Of(int.Parse(File.ReadAllText(pidFile), System.Globalization.CultureInfo.InvariantCulture)));
        Assert.False(Directory.Exists($"/proc/{File.ReadAllText(pidFile).Trim()}"), "it is a zombie");
    }

    [Theory]
    [InlineData("exit 3", "the server ended with status 3 before it was ready")]
    [InlineData("kill -SEGV $$", "the server was killed by signal 11 (SEGV) before it was ready")]
    public void Process_that_dies_before_it_says_anything_is_told(string script, string why)
    {
        var error = Assert.Throws<OutcomeException>(() => Start(script));
        Assert.Equal((OutcomeKind.Failed, why), (error.Kind, error.Why));
    }

    [Fact]
    public void Standard_error_of_the_program_is_not_lent()
    {
        var target = Path.Combine(_files.Registry.Directory.Path, "target");
        Assert.Throws<OutcomeException>(() => Start($"readlink /proc/self/fd/2 > '{target}'"));
        Assert.Equal("/dev/null", File.ReadAllText(target).Trim());
    }

    [Fact]
    public void Command_that_is_installed_has_the_verb_and_passes_on_what_its_server_says()
    {
        // There is no such image: its server says so by way of a supervisor and the process between.
        var error = Assert.Throws<OutcomeException>(
            () => Launcher.Start(Options, new ServerProgram(Command.Path, []) { IsSilent = true }, _files.Registry));
        Assert.Equal((OutcomeKind.Failed, $"cannot attach {Options.Image}"), (error.Kind, error.What));
        Assert.Contains("no such file", error.Why, StringComparison.OrdinalIgnoreCase);
        Assert.Equal(-Errno.ENOENT, ErrorNumbers.Of(error));
    }

    [Fact]
    public void End_that_somebody_else_has_waited_for_is_an_end()
    {
        Assert.Equal("ended", ProcessEnd.Describe(-10));
        Assert.Equal(-10, Spawn.Wait(1)); // ECHILD: not ours.
    }
}
