using System;
using System.Collections.Generic;
using System.Text;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Exports.NbdSocket;
using Qcow2Blk.Exports.Ublk;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Logging;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Options;

public sealed class AttachRulesTests
{
    private static readonly AttachOptions s_good = new() { Image = "/disk.qcow2", SocketPath = "/run/disk.sock" };

    private static readonly AttachOptions s_block = s_good with { SocketPath = null };

    public static TheoryData<string, object> Refused { get; } = new()
    {
        { "--depth 0", s_block with { Depth = 0 } },
        { "--depth 1025", s_block with { Depth = 1025 } },
        { "--block-size 1024", s_block with { BlockSize = 1024 } },
        { "--nbd-timeout 0", s_block with { NbdTimeout = 0 } },
        { "--dead-timeout 86401", s_block with { DeadTimeout = 86401 } },
        { "--device /dev/sda", s_block with { Device = "/dev/sda" } },
        { "--device /dev/ublkb0p1", s_block with { Device = "/dev/ublkb0p1" } },
        { "--transport nbd", s_block with { Device = "/dev/ublkb0", Transport = DeviceTransport.Nbd } },
        { "--ublk-mode", s_block with { UblkMode = UblkMode.Map, Transport = DeviceTransport.Nbd } },
        { "--discard-log", s_good with { DiscardLog = true } },
        { "--discard-log", s_block with { DiscardLog = true, ReadOnly = true } },
        { "--discard-log", s_block with { DiscardLog = true, Snapshot = "1" } },
        { "--discard-log", s_block with { DiscardLog = true, Format = ImageFormat.Raw } },
        { "cannot be used together", s_good with { ListenHost = "localhost" } },
        { "LISTEN_FDS", s_good with { ListenFd = 3 } },
        { "LISTEN_FDS", s_good with { SocketPath = null, ListenFd = 3, RunCommand = "true" } },
        { "107 bytes, this one has 108", s_good with { SocketPath = "/" + new string('x', 107) } },
        { "port", s_good with { SocketPath = null, ListenHost = "localhost", ListenPort = 65536 } },
        { "--discard unmap", s_good with { Discard = DiscardMode.Ignore, DetectZeroes = DetectZeroes.Unmap } },
        { "--no-backing", s_good with { NoBacking = true, BackingDirectories = ["/a"] } },
        { "--no-backing and --backing cannot be used together", s_good with { NoBacking = true, Backing = "/b" } },
        { "--no-backing and --backing-format cannot be used together", s_good with { NoBacking = true, BackingFormat = ImageFormat.Raw } },
        { "--backing needs --format qcow2", s_good with { Format = ImageFormat.Raw, Backing = "/b" } },
        { "--backing-format needs --format qcow2", s_good with { Format = ImageFormat.Raw, BackingFormat = ImageFormat.Qcow2 } },
        { "--backing is not a file name", s_good with { Backing = "" } },
        { "--snapshot", s_good with { Format = ImageFormat.Raw, Snapshot = "1" } },
        { "--no-backing", s_good with { Format = ImageFormat.Raw, NoBacking = true } },
        { "--queues 0", s_good with { Queues = 0 } },
        { "--queues 65", s_good with { Queues = 65 } },
        { "--cache-size", s_good with { CacheSize = 4096 } },
        { "--lock-timeout 3601", s_good with { LockTimeout = 3601 } },
        { "--lock-timeout -1", s_good with { LockTimeout = -1 } },
        { "--name", s_good with { Name = "../x" } },
        { "IMAGE", s_good with { Image = "" } },
    };

    [Theory]
    [MemberData(nameof(Refused))]
    public void Options_that_make_no_sense_together_are_usage_errors(string about, object options)
    {
        var error = Assert.Throws<OutcomeException>(() => AttachRules.Check((AttachOptions)options));
        Assert.Equal(OutcomeKind.Invalid, error.Kind);
        Assert.Contains(about, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Plain_options_are_accepted() => AttachRules.Check(s_good);

    [Fact]
    public void Without_an_address_it_is_a_block_device()
    {
        Assert.True(s_block.IsBlockDevice);
        AttachRules.Check(s_block);
        AttachRules.Check(
            s_block with { Depth = 1, BlockSize = 4096, Device = "/dev/nbd3", Transport = DeviceTransport.Nbd, DeadTimeout = 0 });
        AttachRules.CheckGiven(["--depth"], s_block);
    }

    [Theory]
    [InlineData("/s", null, null, "leave --socket out")]
    [InlineData(null, "localhost", null, "leave --listen out")]
    [InlineData(null, null, 3, "leave --depth out")]
    public void Block_device_options_beside_an_address_are_usage_errors(string? socket, string? host, int? fd, string hint)
    {
        var options = s_block with { SocketPath = socket, ListenHost = host, ListenFd = fd };
        var error = Assert.Throws<OutcomeException>(() => AttachRules.CheckGiven(["--depth", "--device"], options));
        Assert.Equal((OutcomeKind.Invalid, hint), (error.Kind, error.Hint));
        AttachRules.CheckGiven([], options);
    }

    [Theory]
    [InlineData("/dev/ublkb0", DeviceTransport.Ublk, 0, "/dev/ublkb0")]
    [InlineData("nbd15", DeviceTransport.Nbd, 15, "/dev/nbd15")]
    public void Nodes_that_this_program_makes_are_known(string text, DeviceTransport transport, int index, string path)
    {
        var node = KernelNode.TryParse(text)!.Value;
        Assert.Equal((transport, index, path), (node.Transport, node.Index, node.Path));
    }

    [Theory]
    [InlineData(null)]
    [InlineData("/dev/ublkc0")]
    [InlineData("/dev/ublkb")]
    [InlineData("/dev/nbd0p1")]
    [InlineData("/dev/nbd-1")]
    [InlineData("/dev/nbd01")]
    [InlineData("/dev/nbd1048576")]
    [InlineData("nbd://host")]
    public void Other_names_are_no_nodes(string? text) => Assert.Null(KernelNode.TryParse(text));

    [Fact]
    public void Options_survive_their_way_to_the_server()
    {
        var full = new AttachOptions
        {
            Image = "/data/ä \"quoted\"\n.qcow2",
            Format = ImageFormat.Raw,
            Name = "n",
            SocketPath = "/s",
            ListenHost = "::1",
            ListenPort = 0,
            ListenFd = 3,
            ReadOnly = true,
            Foreground = true,
            RunCommand = "echo $uri",
            Cache = CacheMode.Writeback,
            CacheSize = 1L << 33,
            Queues = 4,
            Discard = DiscardMode.Ignore,
            DetectZeroes = DetectZeroes.Unmap,
            Snapshot = "s",
            NoBacking = true,
            BackingDirectories = ["/a", "/b"],
            LockTimeout = 0,
            OnEnospc = EnospcPolicy.Stop,
            PidFile = "/p",
            LogLevel = LogLevel.Debug,
        };
        var copy = AttachOptionsJson.Read(AttachOptionsJson.Write(full));
        Assert.Equal(full.BackingDirectories, copy.BackingDirectories);
        var block = s_block with
        {
            Transport = DeviceTransport.Nbd,
            Device = "/dev/nbd7",
            Depth = 64,
            BlockSize = 4096,
            UblkMode = UblkMode.UserCopy,
            NbdTimeout = 5,
            DeadTimeout = 6,
            NullIo = true,
            RecoverDevice = "/dev/nbd7",
            BackingDirectories = ["/a"],
        };
        var blockCopy = AttachOptionsJson.Read(AttachOptionsJson.Write(block));
        Assert.Equal(block, blockCopy with { BackingDirectories = block.BackingDirectories });
        IReadOnlyList<string> none = [];
        Assert.Equal(full with { BackingDirectories = none }, copy with { BackingDirectories = none });
        Assert.Equal(s_good with { BackingDirectories = none },
            AttachOptionsJson.Read(AttachOptionsJson.Write(s_good)) with { BackingDirectories = none });
    }

    [Theory]
    [InlineData("localhost", "localhost", 10809)]
    [InlineData("10.0.0.1:99", "10.0.0.1", 99)]
    [InlineData(":99", "localhost", 99)]
    [InlineData("host:", "host", 10809)]
    [InlineData("[::1]", "::1", 10809)]
    [InlineData("[::1]:0", "::1", 0)]
    public void Listen_address_is_read(string text, string host, int port) =>
        Assert.Equal(new ListenAddress(host, port), ListenAddress.Parse(text));

    [Theory]
    [InlineData("::1")]
    [InlineData("host:65536")]
    [InlineData("host:-1")]
    [InlineData("host:http")]
    [InlineData("[::1")]
    [InlineData("[::1]9")]
    public void Listen_address_that_is_none_is_a_usage_error(string text) =>
        Assert.Equal(OutcomeKind.Invalid, Assert.Throws<OutcomeException>(() => ListenAddress.Parse(text)).Kind);

    [Fact]
    public void Uri_quotes_what_would_end_a_query() =>
        Assert.Equal("nbd+unix:///?socket=/run/a%20%26%23%25%C3%A4.sock", NbdUri.ForUnixSocket("/run/a &#%ä.sock"));

    [Theory]
    [InlineData("localhost", 10809, "nbd://localhost")]
    [InlineData("::1", 99, "nbd://[::1]:99")]
    public void Uri_of_tcp_leaves_out_the_usual_port(string host, int port, string uri) => Assert.Equal(uri, NbdUri.ForTcp(host, port));

    [Fact]
    public void Refusal_is_always_one_line() =>
        Assert.DoesNotContain('\n', new OutcomeException(OutcomeKind.Failed, "a\nb", "c\r\nd", "e\nf").Message);

    [Fact]
    public void Variables_of_a_captive_command_replace_inherited_ones()
    {
        Environment.SetEnvironmentVariable("uri", "stale");
        var record = new DeviceRecord
        {
            Name = "disk",
            Image = "/d",
            Uri = "nbd://[::1]:99",
            Pid = 1,
            Started = default,
            Options = s_good,
        };
        var variables = CaptiveCommand.Variables(s_good with { SocketPath = null, ListenHost = "::1" }, record);
        Environment.SetEnvironmentVariable("uri", null);
        Assert.Contains("uri=nbd://[::1]:99", variables);
        Assert.Contains("port=99", variables);
        Assert.DoesNotContain("uri=stale", variables);
    }
}
