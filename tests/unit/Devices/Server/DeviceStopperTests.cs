using System;
using System.IO;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Interop;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Server;

/// <summary>The process that stops a device: it is waited for, for so long, and there is one of it. A shell stands for the
/// program.</summary>
public sealed class DeviceStopperTests : IDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    private readonly TempDirectory _folder = new();

    public void Dispose() => _folder.Dispose();

    private static DeviceStopper Shell(string script) => new(new ServerProgram("/bin/sh", ["-c", script]));

    [Fact]
    public void Process_is_told_the_device_and_its_success_is_ours()
    {
        // $0 and $1 of "sh -c".
        Assert.Equal(0, Shell($"echo $0 $1 > {_folder.File("told")}").Stop(7, s_patience));
        Assert.Equal("stop-device 7\n", File.ReadAllText(_folder.File("told")));
    }

    [Fact]
    public void Process_that_fails_has_not_stopped_the_device() => Assert.Equal(-Errno.EIO, Shell("exit 1").Stop(7, s_patience));

    [Fact]
    public void Process_that_takes_longer_is_waited_for_again_and_not_started_twice()
    {
        string started = _folder.File("started"), answer = _folder.File("answer");
        var stopper = Shell($"echo >> {started}; while [ -e {started} ] && ! [ -e {answer} ]; do sleep 0.01; done");
        Assert.Equal(-Errno.ETIMEDOUT, stopper.Stop(7, TimeSpan.FromMilliseconds(20)));
        Assert.Equal(-Errno.ETIMEDOUT, stopper.Stop(7, TimeSpan.Zero));
        File.WriteAllText(answer, "");
        Assert.Equal(0, stopper.Stop(7, s_patience));
        Assert.Equal("\n", File.ReadAllText(started));
    }

    [Fact]
    public void Program_that_is_not_there_is_an_error() =>
        Assert.Equal(-Errno.ENOENT, new DeviceStopper(new ServerProgram(_folder.File("nothing"), [])).Stop(7, s_patience));

    [Theory]
    [InlineData("stop-device")]
    [InlineData("stop-device", "-1")]
    [InlineData("stop-device", "ublkb0")]
    [InlineData("stop-device", "0", "1")]
    public void Verb_takes_the_number_of_a_device_only(params string[] arguments) =>
        Assert.Equal(OutcomeKind.Invalid, DeviceStopper.Main(arguments));
}
