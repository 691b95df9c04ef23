using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Interop;
using Xunit;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Tests.Devices.Server;

/// <summary>When a server that died is started again, with a shell in the worker's place.</summary>
public sealed class SupervisorTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("q2b-supervisor-").FullName;
    private readonly DeviceRegistry _registry;
    private readonly List<AttachOptions> _started = [];
    private readonly ListLog _log = new();
    private bool _nodeExists = true;

    public SupervisorTests() => _registry = new DeviceRegistry(RuntimeDirectory.At(_folder)) { NodeExists = _ => _nodeExists };

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static AttachOptions Options => new() { Image = "/data/disk.qcow2", Depth = 7 };

    /// <summary>A worker runs a script; "register" in it stands for a state file that names the worker and a device.</summary>
    private int Run(params string[] scripts)
    {
        using var supervisor = new Supervisor(_registry, (options, _) =>
        {
            _started.Add(options);
            return Shell(scripts[Math.Min(_started.Count, scripts.Length) - 1]);
        }, _log);
        return supervisor.Run(Options, -1, () => { });
    }

    private int Shell(string script)
    {
        var stateFile = Path.Combine(_folder, "disk.json");
        const string json = """
            {"name":"disk","image":"/data/disk.qcow2","device":"DEVICE","pid":PID,"started":"2026-01-01T00:00:00Z",
            "options":{"image":"/data/disk.qcow2","depth":7}}
            """;
        var register = $"printf '%s' '{json}' | sed \"s:PID:$$:; s:DEVICE:/dev/ublkb5:\" > {stateFile}";
        var forget = $"rm -f {stateFile}";
        return Spawn.Start(new Spawn.Child
        {
            Path = "/bin/sh",
            Arguments = ["sh", "-c", script.Replace("register", register, StringComparison.Ordinal)
                .Replace("forget", forget, StringComparison.Ordinal)],
            Environment = ["PATH=/usr/bin:/bin"],
            Descriptors = [0, 1, 2],
        });
    }

    [Fact]
    public void Planned_end_starts_no_other_server() => AssertStarts(1, 0, "register; forget; exit 0");

    [Fact]
    public void Refused_attach_passes_its_status_on() => AssertStarts(1, 4, "exit 4");

    [Fact]
    public void Server_killed_before_it_has_a_device_is_not_started_again() => AssertStarts(1, 137, "kill -9 $$");

    [Fact]
    public void Hand_over_starts_no_other_server() => AssertStarts(1, 0, $"register; exit {(int)ServerEnd.HandedOver}");

    private void AssertStarts(int starts, int status, params string[] scripts)
    {
        Assert.Equal(status, Run(scripts));
        Assert.Equal(starts, _started.Count);
    }

    [Fact]
    public void Killed_server_is_followed_by_one_that_takes_its_device_over_with_the_options_it_had()
    {
        AssertStarts(2, 0, "register; kill -9 $$", "forget; exit 0");
        Assert.Equal(("disk", "/dev/ublkb5", 7), (_started[1].Name, _started[1].RecoverDevice, _started[1].Depth));
        Assert.Contains(_log.Lines, line => line.Contains("killed by signal 9 (KILL): recovering /dev/ublkb5", StringComparison.Ordinal));
    }

    [Fact]
    public void Refused_recovery_is_tried_again() =>
        AssertStarts(3, 0, "register; kill -9 $$", "exit 4", "register; forget; exit 0");

    [Fact]
    public void Device_that_is_gone_needs_no_other_server()
    {
        _nodeExists = false;
        AssertStarts(1, 137, "register; kill -9 $$");
    }

    [Fact]
    public void Device_that_another_process_has_taken_over_needs_no_other_server()
    {
        // The lock on the state file is what says that somebody serves the device.
        var claim = Path.Combine(_folder, "disk.json");
        var fd = -1;
        using var supervisor = new Supervisor(_registry, (_, _) =>
        {
            var pid =
                Shell("register; while [ ! -e go ]; do sleep 0.02; done; kill -9 $$".Replace("go", Path.Combine(_folder, "go"),
                    StringComparison.Ordinal));
            Assert.True(System.Threading.SpinWait.SpinUntil(() => _registry.NameOfServer(pid) is not null, 10_000));
            fd = Fcntl.Open(claim, O_RDWR | O_CLOEXEC, 0);
            Assert.Equal(0, Fcntl.SetLock(fd, F_WRLCK, 0, 1));
            File.WriteAllText(Path.Combine(_folder, "go"), "");
            return pid;
        }, _log);
        Assert.Equal(137, supervisor.Run(Options, -1, () => { }));
        _ = Unistd.Close(fd);
        Assert.Empty(_log.Lines);
    }

    [Fact]
    public void Request_to_end_is_passed_to_the_server_and_none_follows()
    {
        using var supervisor = new Supervisor(_registry, (options, _) =>
        {
            _started.Add(options);
            return Shell("register; exec sleep 60");
        }, _log);
        var status = supervisor.Run(Options, -1, () => System.Threading.Tasks.Task.Run(() =>
        {
            System.Threading.SpinWait.SpinUntil(() => _registry.List().Count > 0, 10_000);
            supervisor.End();
        }));
        Assert.Equal(128 + SIGTERM, status);
        Assert.Single(_started);
    }

    [Trait("Speed", "slow")]
    [Fact]
    public void Server_that_dies_again_and_again_is_given_up_with_advice()
    {
        // Between the restarts lie 0, 1, 2, 3 and 4 seconds.
        AssertStarts(1 + RestartPolicy.MaxRestarts, 1, "register; kill -9 $$", "exit 1");
        Assert.Contains(_log.Lines, line => line.Contains("attach --recover disk", StringComparison.Ordinal));
    }

    [Fact]
    public void Status_of_processes_is_told_by_more_than_their_number()
    {
        var self = ProcessIdentity.Self;
        Assert.True(self.IsAlive);
        Assert.False((self with { Start = self.Start + 1 }).IsAlive);
        Assert.Equal(0, (self with { Start = self.Start + 1 }).Kill(TimeSpan.FromSeconds(1)));
        Assert.False(self.WaitForEnd(TimeSpan.Zero));
        var pid = Shell("sleep 60");
        var child = ProcessIdentity.Of(pid)!.Value;
        Assert.Equal(0, child.Kill(TimeSpan.FromSeconds(10)));
        Assert.False(child.IsAlive);
        Assert.Equal(128 + SIGKILL, Spawn.Wait(pid));
    }

    [Fact]
    public void Restarts_are_immediate_first_then_slower_and_end()
    {
        var policy = new RestartPolicy();
        var now = TimeSpan.FromHours(1);
        Assert.Equal([0, 1, 2, 3, 4], Enumerable.Range(0, RestartPolicy.MaxRestarts).Select(_ => policy.Next(now)!.Value.TotalSeconds));
        Assert.Null(policy.Next(now + RestartPolicy.Window));
        Assert.Equal(TimeSpan.Zero, policy.Next(now + RestartPolicy.Window + TimeSpan.FromSeconds(1)));
    }

    [Theory]
    [InlineData("36 35 98:0 / /mnt rw,noatime shared:1 - ext4 /dev/ublkb0 rw", "/mnt")]
    [InlineData("36 35 98:0 / /a\\040b\\134c rw - ext4 /dev/ublkb0p1 rw", "/a b\\c")]
    [InlineData("36 35 98:0 / /mnt rw - ext4 /dev/ublkb01 rw", null)]
    [InlineData("36 35 98:0 / /dev/ublkb0 rw - tmpfs none rw", null)]
    [InlineData("nonsense", null)]
    public void Mounts_of_a_device_are_found(string line, string? target) =>
        Assert.Equal(target, MountNamespace.TargetOf(line, new KernelNode(DeviceTransport.Ublk, 0)));
}
