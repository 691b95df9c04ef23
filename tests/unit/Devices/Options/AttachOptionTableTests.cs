using System;
using System.Linq;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Options;

/// <summary>An option is declared once, and everything else follows.</summary>
public sealed class AttachOptionTableTests
{
    private static readonly AttachOptions s_plain = new() { Image = "/disk.qcow2" };

    public static TheoryData<string> Public() => [.. AttachOptionTable.All.Where(option => option.IsPublic).Select(option => option.Name)];

    [Fact]
    public void No_name_is_declared_twice()
    {
        Assert.Distinct(AttachOptionTable.All.Select(option => option.Name));
        Assert.Distinct(AttachOptionTable.All.Where(option => option.IsStored).Select(option => option.Member ?? option.Name));
    }

    [Theory]
    [MemberData(nameof(Public))]
    public void Help_is_in_house_style(string name)
    {
        var option = AttachOptionTable.Named(name);
        Assert.Matches("^[a-z].*[^.]$", option.Help);
        Assert.Equal(option.IsFlag, option.ValueName is null);
    }

    [Theory]
    [MemberData(nameof(Public))]
    public void Value_is_set_by_name_and_text_and_can_be_told_again(string name)
    {
        var option = AttachOptionTable.Named(name);
        foreach (var text in SampleSettings.Of(option))
        {
            var settings = new AttachSettings(s_plain);
            settings.Set(name, text);
            Assert.Equal([text], option.Texts(settings.Options));
            var rest = AttachOptionTable.All.Where(other =>
                other != option && !other.IsOfBlockDevice && other.Name is not ("listen-host" or "listen-port" or "transport"));
            Assert.All(rest, other => Assert.Equal(other.Texts(s_plain), other.Texts(settings.Options)));
        }
    }

    [Theory]
    [InlineData("depth", "0", "--depth 0 is out of range: 1 to 1024 requests")]
    [InlineData("depth", "x", "--depth x is not a number: digits, optionally with a decimal point")]
    [InlineData("queues", "1.5", "--queues 1.5 is not a whole number: digits only")]
    [InlineData("queues", "65", "--queues 65 is out of range: 1 to 64")]
    [InlineData("lock-timeout", "3601", "--lock-timeout 3601 is out of range: 0 to 3600 seconds")]
    [InlineData("block-size", "1024", "--block-size 1024 is not supported: blocks have 512 or 4096 bytes")]
    [InlineData("cache", "writback", "--cache writback is not known: it must be one of none, writeback (did you mean writeback?)")]
    [InlineData("read-only", "yes", "--read-only yes is not known: it must be one of true, false")]
    [InlineData("cache-size", "big", "--cache-size big is not a size: a size is a number, optionally followed by K, M, G, T, P or E")]
    [InlineData("cache-size", "4K", "--cache-size 4096 is out of range: 1M to 64G")]
    [InlineData("listen", "h:x", "--listen h:x is not HOST:PORT: \"x\" is not a port; ports are 0 to 65535")]
    [InlineData("device", "/dev/sda", "--device /dev/sda is not a device that qcow2blk makes: devices are /dev/ublkbN and /dev/nbdN")]
    [InlineData("name", "../x",
        "--name \"../x\" is not a valid device name: names have 1 to 48 of the characters A-Z a-z 0-9 . _ - and do not begin with . or -")]
    [InlineData("backing-dir", "/nonexistent", "--backing-dir /nonexistent is not a directory: backing files could never be opened")]
    [InlineData("backing", "", "--backing is not a file name: it is empty or contains a NUL")]
    public void Value_that_cannot_be_is_refused_with_name_value_and_what_is_allowed(string name, string text, string message)
    {
        var settings = new AttachSettings(s_plain);
        var error = Assert.Throws<OutcomeException>(() => settings.Set(name, text));
        Assert.Equal((OutcomeKind.Invalid, message), (error.Kind, error.Message));
        Assert.Equal(s_plain, settings.Options);
    }

    [Theory]
    [InlineData("cache-sise", "did you mean cache-size?")]
    [InlineData("image", null)]
    [InlineData("recover-device", null)]
    [InlineData("--depth", "did you mean depth?")]
    public void Name_that_is_none_is_refused(string name, string? hint)
    {
        var error = Assert.Throws<OutcomeException>(() => new AttachSettings(s_plain).Set(name, "1"));
        Assert.Equal((OutcomeKind.Invalid, $"\"{name}\" is not an option of attach", hint), (error.Kind, error.What, error.Hint));
        Assert.StartsWith("it must be one of socket, listen, transport", error.Why, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("transport", "auto", "device", "/dev/nbd1")]
    [InlineData("device", "/dev/nbd1", "transport", "auto")]
    [InlineData("device", "nbd1", "transport", "nbd")]
    public void Name_of_a_node_says_what_makes_it_in_any_order(string first, string firstText, string second, string secondText)
    {
        var settings = new AttachSettings(s_plain);
        settings.Set(first, firstText);
        settings.Set(second, secondText);
        Assert.Equal((DeviceTransport.Nbd, "/dev/nbd1"), (settings.Options.Transport, settings.Options.Device));
    }

    [Fact]
    public void Block_device_option_beside_an_address_is_refused_though_it_has_its_default()
    {
        var settings = new AttachSettings(s_plain);
        settings.Set("depth", "128");
        Assert.Equal(s_plain, settings.ToOptions());
        settings.Set("socket", "/s");
        Assert.Equal("--depth cannot be combined with --socket", Assert.Throws<OutcomeException>(settings.ToOptions).What);
    }

    [Fact]
    public void Options_that_make_no_sense_together_are_refused_in_the_end()
    {
        var settings = new AttachSettings(s_plain);
        settings.Set("no-backing", "true");
        settings.Set("backing", "base");
        Assert.StartsWith("--no-backing and --backing cannot",
            Assert.Throws<OutcomeException>(settings.ToOptions).What, StringComparison.Ordinal);
    }

    [Fact]
    public void State_file_and_next_server_have_what_lives_as_long()
    {
        var all = s_plain with
        {
            Depth = 7,
            Foreground = true,
            RunCommand = "true",
            DiscardLog = true,
            RecoverDevice = "/dev/nbd0",
            OnlyImage = "1:2:3",
            InheritedConnections = 4,
        };
        Assert.Equal(s_plain with { Depth = 7, Foreground = true, RunCommand = "true" }, AttachOptionTable.Kept(all));
        Assert.Equal(s_plain with { Depth = 7 }, AttachOptionTable.OfNextServer(all));
    }

    [Fact]
    public void Any_options_survive_the_way_through_json()
    {
        for (var seed = 0; seed < 1000; seed++)
        {
            var options = SampleSettings.Random(seed);
            var read = AttachOptionsJson.Read(AttachOptionsJson.Write(options));
            Assert.True(SampleSettings.AreSame(options, read), $"seed {seed}: {options} became {read}");
        }
    }
}
