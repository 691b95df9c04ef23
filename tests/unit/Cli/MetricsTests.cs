using System;
using System.IO;
using System.Linq;
using System.Text.Json;
using Qcow2Blk.Tests.Devices;
using Xunit;

namespace Qcow2Blk.Tests.Cli;

/// <summary><c>qcow2blk metrics</c> as scripts run it.</summary>
public sealed class MetricsTests : IDisposable
{
    private readonly StateFiles _files = new();

    public void Dispose() => _files.Dispose();

    private string Output => Path.Combine(_files.Registry.Directory.Path, "qcow2blk.prom");

    private (int Status, string Output, string Errors) Run(params string[] arguments) =>
        Command.RunIn(_files.Registry.Directory.Path, ["metrics", .. arguments]);

    [Fact]
    public void Dead_devices_are_shown_in_one_family_each()
    {
        _files.Dead(_files.Device("a"));
        _files.Dead(_files.Device("b"));

        var lines = Run().Output.Split('\n');

        Assert.Single(lines, "# TYPE qcow2blk_device_state gauge");
        Assert.Contains("qcow2blk_device_state{name=\"a\",state=\"dead\"} 1", lines);
        Assert.Contains("qcow2blk_device_state{name=\"b\",state=\"dead\"} 1", lines);
        Assert.Equal(["# EOF", ""], lines[^2..]);
    }

    [Fact]
    public void Only_the_devices_that_are_named_are_shown()
    {
        _files.Dead(_files.Device("a"));
        _files.Dead(_files.Device("b"));

        var text = Run("b", "b").Output;

        Assert.DoesNotContain("name=\"a\"", text, StringComparison.Ordinal);
        Assert.Single(text.Split('\n'), line => line.StartsWith("qcow2blk_device_info{", StringComparison.Ordinal));
        Assert.Equal(3, Run("c").Status);
    }

    [Fact]
    public void Json_has_the_same_samples()
    {
        _files.Dead(_files.Device("a"));

        using var json = JsonDocument.Parse(Run("--json").Output);

        var printed = Run().Output.Split('\n').Where(line => line.Length > 0 && line[0] != '#').Select(line => line.Split('{')[0]);
        Assert.Equal(printed, json.RootElement.EnumerateArray().SelectMany(family => family.GetProperty("samples").EnumerateArray())
            .Select(sample => sample.GetProperty("name").GetString()));
    }

    [Fact]
    public void File_is_replaced_as_a_whole_readable_for_all_and_nothing_else_is_left()
    {
        _files.Dead(_files.Device("a"));
        File.WriteAllText(Output, "old");
        using var reader = File.OpenRead(Output);

        var run = Command.Start("sh", _files.Registry.Directory.Path, "-c", $"umask 077; '{Command.Path}' metrics --output '{Output}'");

        Assert.Equal((0, "", ""), run);
        Assert.Equal(Run().Output, File.ReadAllText(Output));
        Assert.Equal("old", new StreamReader(reader).ReadToEnd());
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead,
            File.GetUnixFileMode(Output));
        Assert.Equal(["a.json", "qcow2blk.prom"],
            Directory.GetFiles(_files.Registry.Directory.Path).Select(Path.GetFileName).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void File_that_cannot_be_written_is_an_error_and_leaves_nothing()
    {
        Directory.CreateDirectory(Output);

        var run = Run("--output", Output);

        Assert.Equal((1, $"qcow2blk: cannot write {Output}: it is a directory\n"), (run.Status, run.Errors));
        Assert.Empty(Directory.GetFiles(_files.Registry.Directory.Path));
        Assert.Contains("its directory does not exist", Run("--output", Output + "/none/x.prom").Errors, StringComparison.Ordinal);
    }
}
