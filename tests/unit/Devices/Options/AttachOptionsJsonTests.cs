using System;
using System.Collections;
using System.Collections.Generic;
using System.Linq;
using System.Reflection;
using System.Text;
using System.Text.Json;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Registry;
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
        foreach (PropertyInfo property in Settable())
        {
            foreach (object value in ValuesFor(property))
                data.Add(property.Name, Text(value));
        }
        return data;
    }

    [Theory]
    [MemberData(nameof(Members))]
    public void Member_survives_the_way_to_the_server(string member, string value)
    {
        PropertyInfo property = typeof(AttachOptions).GetProperty(member)!;
        AttachOptions options = Copy(s_bases.GetValueOrDefault(member, s_block));
        property.SetValue(options, ValuesFor(property).Single(candidate => Text(candidate) == value));
        AttachOptions read = AttachOptionsJson.Read(AttachOptionsJson.Write(options));
        foreach (PropertyInfo each in Settable())
            Assert.True(Text(each.GetValue(options)) == Text(each.GetValue(read)), $"{each.Name}: {Text(each.GetValue(options))} became {Text(each.GetValue(read))}");
    }

    [Fact]
    public void Member_survives_the_way_through_the_state_file()
    {
        var record = new DeviceRecord { Name = "web", Image = "/disk.qcow2", Pid = 1, Started = default, Options = s_block with { Depth = 9, Snapshot = "s" } };
        DeviceRecord read = DeviceRecord.Parse(record.ToJson());
        Assert.Equal(record, read with { Options = read.Options with { BackingDirectories = record.Options.BackingDirectories } });
    }

    [Theory]
    [InlineData("", typeof(JsonException))]
    [InlineData("7", typeof(JsonException))]
    [InlineData("{\"image\":\"/d\"", typeof(JsonException))]
    [InlineData("{\"image\":null}", typeof(JsonException))]
    [InlineData("{\"image\":\"/d\",\"colour\":\"blue\"}", typeof(JsonException))]
    [InlineData("{\"image\":\"/d\",\"cache\":\"warm\"}", typeof(FormatException))]
    [InlineData("{\"image\":\"/d\",\"depth\":\"deep\"}", typeof(InvalidOperationException))]
    public void What_is_no_such_object_is_refused(string json, Type error)
        => Assert.IsType(error, Record.Exception(() => AttachOptionsJson.Read(Encoding.UTF8.GetBytes(json))), exactMatch: false);

    private static IEnumerable<PropertyInfo> Settable() => typeof(AttachOptions).GetProperties().Where(property => property.CanWrite);

    /// <summary>Values that differ from the default.</summary>
    private static object[] ValuesFor(PropertyInfo property)
    {
        Type type = Nullable.GetUnderlyingType(property.PropertyType) ?? property.PropertyType;
        object? usual = property.GetValue(s_block);
        if (type.IsEnum)
            return [.. Enum.GetValues(type).Cast<object>().Where(value => !value.Equals(usual))];
        if (type == typeof(bool))
            return [!(bool)usual!];
        if (type == typeof(int))
            return [(usual as int? ?? 0) + 1, 0];
        if (type == typeof(long))
            return [1L << 33];
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
        IEnumerable list => $"[{string.Join(", ", list.Cast<object>())}]",
        _ => $"{value}",
    };

    private static AttachOptions Copy(AttachOptions options) => options with { };
}
