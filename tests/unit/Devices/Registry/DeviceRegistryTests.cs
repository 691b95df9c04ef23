using System;
using System.Collections.Concurrent;
using System.IO;
using System.Linq;
using System.Threading.Tasks;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Interop;
using Qcow2Blk.Storage;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Registry;

public sealed class DeviceRegistryTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("q2b-registry-").FullName;
    private readonly DeviceRegistry _registry;

    public DeviceRegistryTests() => _registry = new DeviceRegistry(RuntimeDirectory.At(Path.Combine(_folder, "run")));

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private DeviceClaim Claim(string image, string? name = null, string? uri = "nbd+unix:///?socket=/s")
    {
        var options = new AttachOptions { Image = image, Name = name, SocketPath = "/s" };
        return _registry.Claim(options, granted => new DeviceRecord
        {
            Name = granted,
            Image = image,
            Uri = uri,
            Pid = 4711,
            Started = DateTimeOffset.UnixEpoch,
            Options = options,
        });
    }

    /// <summary>A state file without a process behind it, as after kill -9.</summary>
    private void Kill(DeviceClaim claim)
    {
        var file = _registry.Directory.StateFileOf(claim.Name);
        var content = File.ReadAllBytes(file);
        claim.Dispose();
        File.WriteAllBytes(file, content);
        File.WriteAllBytes(_registry.Directory.SocketOf(claim.Name), []);
    }

    [Fact]
    public void Racing_attaches_of_one_stem_get_different_names()
    {
        var claims = new ConcurrentBag<DeviceClaim>();
        Parallel.For(0, 40, _ => claims.Add(Claim("/data/disk.qcow2")));
        string[] expected = [.. Enumerable.Range(1, 40).Select(n => n == 1 ? "disk" : $"disk-{n}").Order(StringComparer.Ordinal)];
        Assert.Equal(expected, claims.Select(claim => claim.Name).Order(StringComparer.Ordinal));
        Assert.All(_registry.List(), entry => Assert.True(entry.Alive));
        foreach (var claim in claims)
            claim.Dispose();
        Assert.Empty(Directory.GetFileSystemEntries(_registry.Directory.Path));
    }

    [Fact]
    public void Asked_name_that_lives_is_busy()
    {
        using var claim = Claim("/data/a.qcow2", "web");
        var error = Assert.Throws<OutcomeException>(() => Claim("/data/b.qcow2", "web"));
        Assert.Equal(OutcomeKind.Busy, error.Kind);
    }

    [Fact]
    public void Dead_device_is_listed_until_removed_and_its_socket_goes_too()
    {
        Kill(Claim("/data/disk.qcow2"));
        var entry = Assert.Single(_registry.List());
        Assert.False(entry.Alive);
        Assert.Equal("/data/disk.qcow2", entry.Record.Image);
        Assert.True(_registry.RemoveDead("disk"));
        Assert.Empty(Directory.GetFileSystemEntries(_registry.Directory.Path));
    }

    [Fact]
    public void What_a_server_leaves_that_died_before_it_was_ready_is_not_listed_and_removed()
    {
        using (Claim("/data/disk.qcow2", uri: null))
            Assert.True(Assert.Single(_registry.List()).Alive);
        Kill(Claim("/data/disk.qcow2", uri: null));
        Assert.Empty(_registry.List());
        Assert.Empty(Directory.GetFileSystemEntries(_registry.Directory.Path));
    }

    [Fact]
    public void Never_ready_is_judged_of_the_file_that_is_removed()
    {
        Kill(Claim("/data/disk.qcow2"));
        Assert.False(DeviceClaim.RemoveDead(_registry.Directory, "disk", onlyNeverReady: true));
        Assert.Single(_registry.List());
    }

    [Fact]
    public void Living_device_cannot_be_removed_as_dead()
    {
        using var claim = Claim("/data/disk.qcow2");
        Assert.False(_registry.RemoveDead("disk"));
        Assert.True(Assert.Single(_registry.List()).Alive);
    }

    [Fact]
    public void Restart_takes_the_name_of_its_dead_predecessor_but_a_stranger_does_not()
    {
        Kill(Claim("/data/disk.qcow2"));
        using (var stranger = Claim("/other/disk.qcow2"))
            Assert.Equal("disk-2", stranger.Name);
        using var restarted = Claim("/data/disk.qcow2");
        Assert.Equal("disk", restarted.Name);
        Assert.True(Assert.Single(_registry.List()).Alive);
    }

    [Fact]
    public void Racing_restarts_of_one_dead_name_have_one_winner()
    {
        for (var round = 0; round < 20; round++)
        {
            Kill(Claim("/data/a.qcow2", "web"));
            var winners = new ConcurrentBag<DeviceClaim>();
            Parallel.For(0, 8, _ =>
            {
                try
                {
                    winners.Add(Claim("/data/a.qcow2", "web"));
                }
                catch (OutcomeException error) when (error.Kind == OutcomeKind.Busy)
                {
                }
            });
            var winner = Assert.Single(winners);
            Assert.True(Assert.Single(_registry.List()).Alive);
            winner.Dispose();
        }

        Assert.Empty(Directory.GetFileSystemEntries(_registry.Directory.Path));
    }

    [Fact]
    public void Target_is_a_name_an_image_by_any_path_or_a_uri()
    {
        var image = Path.Combine(_folder, "disk.qcow2");
        File.WriteAllText(image, "");
        var link = Path.Combine(_folder, "link");
        File.CreateSymbolicLink(link, image);
        using var claim = Claim(image, "web", "nbd://localhost:10810");
        foreach (var target in (string[])["web", image, link, Path.Combine(_folder, ".", "run", "..", "disk.qcow2"),
            "nbd://localhost:10810"])
        {
            Assert.Equal("web", _registry.Resolve(target).Record.Name);
        }

        Assert.Equal(OutcomeKind.NotFound, Assert.Throws<OutcomeException>(() => _registry.Resolve("disk.qcow3")).Kind);
    }

    [Fact]
    public void Image_that_is_attached_twice_is_no_target()
    {
        using var first = Claim("/data/disk.qcow2");
        using var second = Claim("/data/disk.qcow2");
        var error = Assert.Throws<OutcomeException>(() => _registry.Resolve("/data/disk.qcow2"));
        Assert.Equal("disk, disk-2 match it", error.Why);
        Assert.Equal("disk", _registry.Resolve("disk").Record.Name);
    }

    [Fact]
    public void Living_device_is_meant_before_dead_ones_of_the_same_image()
    {
        Kill(Claim("/data/disk.qcow2", "old"));
        using var claim = Claim("/data/disk.qcow2", "new");
        Assert.Equal("new", _registry.Resolve("/data/disk.qcow2").Record.Name);
    }

    [Fact]
    public void Foreign_and_damaged_files_are_not_listed()
    {
        using var claim = Claim("/data/disk.qcow2");
        File.WriteAllText(Path.Combine(_registry.Directory.Path, "half.json"), "{\"name\":\"half\",\"ima");
        File.WriteAllText(Path.Combine(_registry.Directory.Path, "other.json"), "{\"name\":\"disk\",\"image\":\"/x\"}");
        File.WriteAllText(Path.Combine(_registry.Directory.Path, "wrong.json"), "{\"name\":7}");
        Assert.Equal("disk", Assert.Single(_registry.List()).Record.Name);
    }

    [Theory]
    [InlineData("{\"name\":7}", "name 7 is not a value that it can have")]
    [InlineData("{\"name\":\"half\",\"image\":\"/x\",\"pid\":\"many\"}", "pid \"many\" is not a value that it can have")]
    [InlineData("{\"name\":\"half\",\"image\":\"/x\",\"started\":\"soon\"}", "started \"soon\" is not a value that it can have")]
    [InlineData("{\"name\":\"half\",\"image\":\"/x\",\"options\":{\"image\":\"/x\",\"depth\":0}}",
        "options.depth 0 is out of range: 1 to 1024 requests")]
    [InlineData("{\"name\":\"half\"}", "no name or image")]
    public void Damaged_state_file_is_refused_with_the_file_the_field_and_its_value(string json, string why)
    {
        _registry.Directory.Ensure();
        var file = _registry.Directory.StateFileOf("half");
        File.WriteAllText(file, json);
        Assert.Null(_registry.Find("half"));
        var error = Assert.Throws<OutcomeException>(() => _registry.Resolve("half"));
        Assert.Equal((OutcomeKind.Failed, $"cannot read the state file {file}", why), (error.Kind, error.What, error.Why));
        Assert.Equal(OutcomeKind.NotFound, Assert.Throws<OutcomeException>(() => _registry.Resolve("other")).Kind);
    }

    private static DeviceRecord Record(string name, AttachOptions options, string? uri = null, string? socketIdentity = null) =>
        new()
        {
            Name = name,
            Image = options.Image,
            Uri = uri,
            Pid = 1 << 23,
            Started = default,
            Options = options,
            SocketIdentity = socketIdentity
        };

    [Fact]
    public void State_file_that_was_removed_by_hand_is_made_again()
    {
        using var claim = Claim("/data/disk.qcow2");
        File.Delete(_registry.Directory.StateFileOf("disk"));
        claim.Publish(Record("disk", new AttachOptions { Image = "/data/disk.qcow2" }, "nbd://localhost"));
        var entry = Assert.Single(_registry.List());
        Assert.Equal((true, "nbd://localhost"), (entry.Alive, entry.Record.Uri));
        Assert.Single(Directory.GetFileSystemEntries(_registry.Directory.Path));
    }

    [Fact]
    public void State_file_of_another_server_that_has_the_name_now_is_not_replaced()
    {
        using var first = Claim("/data/a.qcow2", "web");
        File.Delete(_registry.Directory.StateFileOf("web"));
        using var second = Claim("/data/b.qcow2", "web");
        var error =
            Assert.Throws<OutcomeException>(() => first.Publish(Record("web", new AttachOptions { Image = "/data/a.qcow2" })));
        Assert.Equal(OutcomeKind.Busy, error.Kind);
        first.Dispose();
        var entry = Assert.Single(_registry.List());
        Assert.Equal((true, "/data/b.qcow2"), (entry.Alive, entry.Record.Image));
        Assert.Single(Directory.GetFileSystemEntries(_registry.Directory.Path));
    }

    [Fact]
    public void Dead_device_takes_its_socket_and_pid_file_with_it_but_not_those_of_others()
    {
        string socket = Path.Combine(_folder, "s"), pidFile = Path.Combine(_folder, "pid");
        var options = new AttachOptions { Image = "/data/disk.qcow2", SocketPath = socket, PidFile = pidFile };
        Unistd.Close(UnixSocket.Serve(socket, 1));
        File.WriteAllText(pidFile, $"{1 << 23}\n");
        var identity = EntryIdentity.Of(socket).ToString()!;
        foreach (var recorded in (string[])["1:2:3:4.000000005", identity])
        {
            _registry.Directory.Ensure();
            File.WriteAllBytes(_registry.Directory.StateFileOf("disk"), Record("disk", options, socketIdentity: recorded).ToJson());
            Assert.True(_registry.RemoveDead("disk"));
            Assert.Equal((recorded != identity, false), (File.Exists(socket), File.Exists(pidFile)));
        }
    }

    [Theory]
    [InlineData("/data/my disk.qcow2", "my_disk")]
    [InlineData("/data/.hidden", "disk")]
    [InlineData("/data/-rf.qcow2", "disk-rf")]
    [InlineData("/data/größe.img", "gr__e")]
    [InlineData("/data/a.b.qcow2", "a.b")]
    public void Name_made_from_an_image_is_valid(string image, string expected)
    {
        Assert.Equal(expected, DeviceName.FromImage(image));
        Assert.True(DeviceName.IsValid(DeviceName.FromImage(image)));
    }

    [Fact]
    public void Longest_made_name_with_the_highest_number_is_valid() =>
        Assert.True(DeviceName.IsValid(DeviceName.Candidate(DeviceName.FromImage("/-" + new string('x', 300)), 9999)));

    [Theory]
    [InlineData("")]
    [InlineData(".x")]
    [InlineData("-x")]
    [InlineData("a/b")]
    [InlineData("..")]
    [InlineData("ä")]
    [InlineData("0123456789012345678901234567890123456789012345678")]
    public void Names_that_are_no_plain_file_names_are_refused(string name) => Assert.False(DeviceName.IsValid(name));
}
