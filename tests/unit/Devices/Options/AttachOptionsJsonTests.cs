using System;
using System.Collections;
using System.Collections.Generic;
using System.Linq;
using System.Reflection;
using System.Text;
using System.Text.Json;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Logging;
using Qcow2Blk.Remote;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Options;

/// <summary>A server does what its command was asked: no option is lost between them, nor in the state file.</summary>
public sealed class AttachOptionsJsonTests
{
    private static readonly AttachOptions s_block = new() { Image = "/disk.qcow2" };

    /// <summary>What only an NBD server has is not written for a block device, and the other way round.</summary>
    private static readonly Dictionary<string, AttachOptions> s_bases = new()
    {
        [nameof(AttachOptions.ListenPort)] = s_block with { ListenHost = "localhost" },
    };

    /// <summary>Every member that can be set, with every value that it is tried with: all of an enumeration.</summary>
    public static TheoryData<string, string> Members()
    {
        var data = new TheoryData<string, string>();
        foreach (var property in Settable())
        {
            foreach (var value in ValuesFor(property))
                data.Add(property.Name, Text(value));
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Members))]
    public void Member_survives_the_way_to_the_server(string member, string value)
    {
        var property = typeof(AttachOptions).GetProperty(member)!;
        var options = Copy(s_bases.GetValueOrDefault(member, s_block));
        property.SetValue(options, ValuesFor(property).Single(candidate => Text(candidate) == value));
        var read = AttachOptionsJson.Read(AttachOptionsJson.Write(options));
        foreach (var each in Settable()
            .Where(each => member != nameof(AttachOptions.Device) || each.Name != nameof(AttachOptions.Transport)))
        {
            Assert.True(Text(each.GetValue(options)) == Text(each.GetValue(read)),
                $"{each.Name}: {Text(each.GetValue(options))} became {Text(each.GetValue(read))}");
        }
    }

    [Fact]
    public void Member_survives_the_way_through_the_state_file()
    {
        var record = new DeviceRecord
        {
            Name = "web",
            Image = "/disk.qcow2",
            Pid = 1,
            Started = default,
            Options = s_block with { Depth = 9, Snapshot = "s" }
        };
        var read = DeviceRecord.Parse(record.ToJson());
        Assert.Equal(record, read with { Options = read.Options with { BackingDirectories = record.Options.BackingDirectories } });
    }

    [Theory]
    [InlineData("")]
    [InlineData("7")]
    [InlineData("{}")]
    [InlineData("{\"image\":\"/d\"")]
    public void What_is_no_such_object_is_refused(string json) =>
        Assert.IsType<JsonException>(Record.Exception(() => AttachOptionsJson.Read(Encoding.UTF8.GetBytes(json))), exactMatch: false);

    [Theory]
    [InlineData("\"colour\":\"blue\"", "options.colour is not an option that this version knows")]
    [InlineData("\"listen\":\"localhost\"", "options.listen is not an option that this version knows")]
    [InlineData("\"image\":null", "options.image null is not text")]
    [InlineData("\"image\":\"\"", "options.image is not a file name: it is empty or contains a NUL")]
    [InlineData("\"cache\":\"warm\"", "options.cache \"warm\" is not one of none, writeback")]
    [InlineData("\"cache\":1", "options.cache 1 is not one of none, writeback")]
    [InlineData("\"depth\":\"deep\"", "options.depth \"deep\" is not a whole number")]
    [InlineData("\"depth\":1.5", "options.depth 1.5 is not a whole number")]
    [InlineData("\"depth\":0", "options.depth 0 is out of range: 1 to 1024 requests")]
    [InlineData("\"depth\":99999999999", "options.depth 99999999999 is not a whole number")]
    [InlineData("\"block-size\":513", "options.block-size 513 is not supported: blocks have 512 or 4096 bytes")]
    [InlineData("\"listen-port\":65536", "options.listen-port 65536 is out of range: 0 to 65535")]
    [InlineData("\"cache-size\":4096", "options.cache-size 4096 is out of range: 1M to 64G")]
    [InlineData("\"read-only\":\"yes\"", "options.read-only \"yes\" is not true or false")]
    [InlineData("\"backing-dirs\":\"/a\"", "options.backing-dirs \"/a\" is not a list of texts")]
    [InlineData("\"backing-dirs\":[7]", "options.backing-dirs […] is not a list of texts")]
    [InlineData("\"name\":{}", "options.name {…} is not text")]
    [InlineData("\"name\":\"../x\"",
        "options.name \"../x\" is not a valid device name: names have 1 to 48 of the characters A-Z a-z 0-9 . _ - and do not begin"
            + " with . or -")]
    public void What_an_option_cannot_be_is_refused_with_its_name_and_value(string member, string message)
    {
        var json = Encoding.UTF8.GetBytes($"{{\"image\":\"/d\",{member}}}");
        Assert.Equal(message, Assert.Throws<JsonException>(() => AttachOptionsJson.Read(json)).Message);
    }

    /// <summary>What version 0.1.0 wrote, of each transport.</summary>
    [Fact]
    public void State_files_of_the_version_before_are_read()
    {
        const string block = """
            {"image":"/d","format":"raw","name":"n","transport":"nbd","device":"/dev/nbd7","depth":64,"block-size":4096,"ublk-mode":"auto",
            "nbd-timeout":5,"dead-timeout":0,"null-io":true,"recover-device":"/dev/nbd7","discard-log":true,"only-image":"8:1:7",
            "inherited-connections":2,"read-only":true,"cache":"writeback","queues":3,"discard":"ignore","detect-zeroes":"on",
            "on-enospc":"stop","log-level":"info"}
            """;
        Assert.Equal(
            s_block with
            {
                Image = "/d",
                Format = ImageFormat.Raw,
                Name = "n",
                Transport = DeviceTransport.Nbd,
                Device = "/dev/nbd7",
                Depth = 64,
                BlockSize = 4096,
                NbdTimeout = 5,
                DeadTimeout = 0,
                NullIo = true,
                RecoverDevice = "/dev/nbd7",
                DiscardLog = true,
                OnlyImage = "8:1:7",
                InheritedConnections = 2,
                ReadOnly = true,
                Cache = CacheMode.Writeback,
                Queues = 3,
                Discard = DiscardMode.Ignore,
                DetectZeroes = DetectZeroes.On,
                OnEnospc = EnospcPolicy.Stop,
                LogLevel = LogLevel.Info,
            },
            AttachOptionsJson.Read(Encoding.UTF8.GetBytes(block)));
        const string nbd = """
            {"image":"/d","format":"qcow2","listen-host":"::1","listen-port":0,"foreground":true,"run":"true","cache":"none",
            "cache-size":1048576,"discard":"unmap","detect-zeroes":"off","snapshot":"s",
            "backing-dirs":["/a","/b c"],"lock-timeout":0,"backing":"/b",
            "backing-format":"raw","on-enospc":"report","pid-file":"/p","log-level":"debug"}
            """;
        var read = AttachOptionsJson.Read(Encoding.UTF8.GetBytes(nbd));
        Assert.Equal(["/a", "/b c"], read.BackingDirectories);
        Assert.Equal(
            s_block with
            {
                Image = "/d",
                ListenHost = "::1",
                ListenPort = 0,
                Foreground = true,
                RunCommand = "true",
                CacheSize = 1 << 20,
                Snapshot = "s",
                LockTimeout = 0,
                Backing = "/b",
                BackingFormat = ImageFormat.Raw,
                PidFile = "/p",
                LogLevel = LogLevel.Debug,
                BackingDirectories = read.BackingDirectories,
            },
            read);
    }

    private static readonly LimitRates[] s_limits =
    [
        new() { Requests = 1, BurstSeconds = 0.25 }, new() { Reads = 2 }, new() { Writes = 3 }, new() { Bytes = 1 << 20 },
        new() { ReadBytes = 1 << 21 }, new() { WrittenBytes = 1L << 40, BurstSeconds = 3600 },
    ];

    private static readonly RemoteSettings[] s_remotes =
    [
        new() { Mirrors = ["https://a.example/b", "s3://c/d"], Root = new string('a', 64), Manifest = "/m", CacheBytes = 1 << 30 },
        new() { CacheDirectory = "/c", ChunkBytes = 1 << 20, CredentialFile = "/k", S3Region = "r", S3Endpoint = "https://s.example" },
        new() { CredentialCommand = "a b", CertificateAuthorities = "/ca", AllowInsecure = true, RecordTrace = "/t" },
        new() { UrlCommand = "c \"$1\"", AllowUnverified = true, Trace = "https://a.example/t" },
        new() { FillAfter = TimeSpan.FromSeconds(600), FillRate = 1 << 20 },
    ];

    private static IEnumerable<PropertyInfo> Settable() => typeof(AttachOptions).GetProperties().Where(property => property.CanWrite);

    /// <summary>Values that differ from the default.</summary>
    private static object[] ValuesFor(PropertyInfo property)
    {
        var type = Nullable.GetUnderlyingType(property.PropertyType) ?? property.PropertyType;
        var usual = property.GetValue(s_block);
        if (type.IsEnum)
            return [.. Enum.GetValues(type).Cast<object>().Where(value => !value.Equals(usual))];
        if (type == typeof(bool))
            return [!(bool)usual!];
        if (property.Name == nameof(AttachOptions.Device))
            return ["/dev/nbd0", "/dev/ublkb1"];
        if (property.Name == nameof(AttachOptions.Name))
            return ["web-1"];
        if (property.Name == nameof(AttachOptions.Base))
            return ["https://images.example/base.qcow2"];
        if (type == typeof(RemoteSettings))
            return [.. s_remotes.Cast<object>()];
        if (property.Name == nameof(AttachOptions.BlockSize))
            return [4096];
        if (type == typeof(int))
            return [(usual as int? ?? 0) + 1];
        if (type == typeof(long))
            return [1L << 33];
        if (type == typeof(LimitRates))
            return [.. s_limits.Cast<object>()];
        if (type == typeof(string))
            return ["plain", "ä \"quoted\"\\\n"];
        if (type == typeof(IReadOnlyList<string>))
            return [(IReadOnlyList<string>)["/a", "/b c"]];
        throw new NotSupportedException($"{property.Name} is a {type}: give it values here");
    }

    private static string Text(object? value) => value switch
    {
        null => "null",
        string text => $"\"{text}\"",
        RemoteSettings remote => $"{remote} {Text(remote.Mirrors)}".Replace($"Mirrors = {remote.Mirrors}, ", "", StringComparison.Ordinal),
        IEnumerable list => $"[{string.Join(", ", list.Cast<object>())}]",
        _ => $"{value}",
    };

    private static AttachOptions Copy(AttachOptions options) => options with { };
}
