using System;
using System.IO;
using System.Linq;
using Xunit;

namespace Qcow2Blk.Tests.Cli;

public sealed class CommandLineTests
{
    [Theory]
    [InlineData("it has no verb")]
    [InlineData("\"bogus\" is not recognized", "bogus")]
    [InlineData("\"--bogus\" is not recognized", "--bogus")]
    [InlineData("\"--bogus\" is not recognized", "attach", "--bogus", "x.qcow2")]
    [InlineData("\"--bogus\" is not recognized", "list", "--bogus")]
    [InlineData("IMAGE is missing", "attach")]
    [InlineData("TARGET is missing", "detach")]
    [InlineData("\"y\" is not recognized", "attach", "x", "y")]
    [InlineData("--depth cannot be combined with --socket", "attach", "x.qcow2", "--socket", "/s", "--depth", "128")]
    [InlineData("--transport cannot be combined with --listen", "attach", "x.qcow2", "--listen", ":1", "--transport", "auto")]
    [InlineData("one of auto, ublk, nbd", "attach", "x.qcow2", "--transport", "loop")]
    [InlineData("not a device that qcow2blk makes", "attach", "x.qcow2", "--device", "/dev/sda")]
    [InlineData("cannot be used together", "attach", "x.qcow2", "--socket", "/s", "--listen", ":1")]
    [InlineData("one of none, writeback", "attach", "x.qcow2", "--socket", "/s", "--cache", "unsafe")]
    [InlineData("is not a number", "attach", "x.qcow2", "--socket", "/s", "--queues", "many")]
    [InlineData("is not a whole number", "attach", "x.qcow2", "--socket", "/s", "--queues", "1.5")]
    [InlineData("is not a size", "attach", "x.qcow2", "--socket", "/s", "--cache-size", "big")]
    [InlineData("is not a size", "attach", "x.qcow2", "--socket", "/s", "--cache-size", "9999999999T")]
    [InlineData("is not a port", "attach", "x.qcow2", "--listen", "h:x")]
    [InlineData("one of qcow2, raw", "attach", "x.qcow2", "--socket", "/s", "--backing-format", "vmdk")]
    [InlineData("one of qcow2, raw", "map", "x.qcow2", "--backing-format", "vmdk")]
    [InlineData("needs --format qcow2", "info", "x.raw", "--format", "raw", "--backing", "y")]
    [InlineData("is not a directory", "attach", "x.qcow2", "--socket", "/s", "--backing-dir", "/nonexistent")]
    [InlineData("out of range", "detach", "x", "--timeout", "-1")]
    [InlineData("--json cannot be used together", "attach", "x.qcow2", "--run", "true", "--json")]
    [InlineData("no completion", "completion", "csh")]
    [InlineData("one of qcow2, raw", "info", "x", "--format", "vmdk")]
    public void Bad_command_lines_end_with_status_2_and_one_line_in_house_style(string why, params string[] arguments)
    {
        (var status, var output, var errors) = Command.Run(arguments);
        Assert.Equal(2, status);
        Assert.Empty(output);
        Assert.StartsWith("qcow2blk: ", errors, StringComparison.Ordinal);
        Assert.Contains(why, errors, StringComparison.Ordinal);
        Assert.Equal(errors.Length - 1, errors.IndexOf('\n', StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("detach")]
    [InlineData("suspend")]
    [InlineData("resume")]
    [InlineData("status")]
    public void Unknown_target_ends_with_status_3(string verb)
    {
        (var status, var output, var errors) = Command.Run(verb, "nobody");
        Assert.Equal((3, ""), (status, output));
        Assert.StartsWith("qcow2blk: no device nobody: ", errors, StringComparison.Ordinal);
    }

    [Fact]
    public void Every_target_of_a_command_is_tried_and_reported_in_json()
    {
        (var status, var output, var errors) = Command.Run("detach", "one", "two", "--json");
        Assert.Equal(3, status);
        Assert.Equal(2, errors.Count(c => c == '\n'));
        using var json = System.Text.Json.JsonDocument.Parse(output);
        Assert.Equal(["one", "two"], json.RootElement.EnumerateArray().Select(entry => entry.GetProperty("target").GetString()!));
        Assert.All(json.RootElement.EnumerateArray(), entry => Assert.Equal("not-found", entry.GetProperty("kind").GetString()));
    }

    [Fact]
    public void Version_is_one_line() => Assert.Matches("^qcow2blk \\d+\\.\\d+\\.\\d+\n$", Command.Run("--version").Output);

    [Theory]
    [InlineData]
    [InlineData("attach")]
    [InlineData("detach")]
    [InlineData("suspend")]
    [InlineData("resume")]
    [InlineData("list")]
    [InlineData("status")]
    [InlineData("info")]
    [InlineData("map")]
    [InlineData("completion")]
    public void Help_ends_with_an_example_of_the_verb(params string[] verb)
    {
        (var status, var output, _) = Command.Run([.. verb, "--help"]);
        Assert.Equal(0, status);
        var examples = output[output.IndexOf("Examples:", StringComparison.Ordinal)..];
        Assert.Contains(string.Join(' ', (string[])["qcow2blk", .. verb]), examples, StringComparison.Ordinal);
    }

    [Fact]
    public void List_without_devices_is_empty_and_in_json_an_empty_array()
    {
        Assert.Equal((0, "", ""), Command.Run("list"));
        Assert.Equal((0, "[]\n", ""), Command.Run("list", "--json"));
    }

    [Fact]
    public void Attach_of_a_missing_file_leaves_no_trace()
    {
        var folder = Directory.CreateTempSubdirectory("q2b-cli-").FullName;
        string runtime = Path.Combine(folder, "run"), socket = Path.Combine(folder, "nbd.sock");
        (var status, var output, var errors) = Command.RunIn(runtime, "attach", Path.Combine(folder, "none.qcow2"), "--socket", socket);
        Assert.Equal((1, ""), (status, output));
        Assert.StartsWith($"qcow2blk: cannot attach {folder}/none.qcow2: ", errors, StringComparison.Ordinal);
        Assert.Equal(1, errors.Count(c => c == '\n'));
        Assert.Empty(Directory.GetFileSystemEntries(runtime));
        Assert.False(File.Exists(socket));
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public void Suggestions_know_verbs_options_and_values()
    {
        Assert.Equal(["attach"], Suggest("qcow2blk atta"));
        Assert.Equal(["ignore", "unmap"], Suggest("qcow2blk attach x --discard ").Order(StringComparer.Ordinal));
        Assert.Contains("--detect-zeroes", Suggest("qcow2blk attach x --de"));
    }

    [Fact]
    public void Bash_completion_completes_verbs_and_values()
    {
        var script = Command.Run("completion", "bash").Output;
        var bin = Path.GetDirectoryName(Command.Path)!;
        var test = script + $$"""

            PATH="{{bin}}:$PATH"
            try() {
                COMP_LINE=$1; COMP_POINT=${#1}; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
                _qcow2blk
                printf '%s\n' "${COMPREPLY[*]}"
            }
            try 'qcow2blk sus' qcow2blk sus
            try 'qcow2blk attach x --cache ' qcow2blk attach x --cache ''
            complete -p qcow2blk
            """;
        var file = Path.GetTempFileName();
        File.WriteAllText(file, test);
        (var status, var output, var errors) = Command.Start("bash", "/nonexistent", file);
        File.Delete(file);
        Assert.Equal((0, ""), (status, errors));
        var lines = output.Split('\n');
        Assert.Equal(("suspend", "none writeback"), (lines[0], lines[1]));
        Assert.Contains("_qcow2blk", lines[2], StringComparison.Ordinal);
    }

    private static string[] Suggest(string line) =>
        Command.Run($"[suggest:{line.Length}]", line).Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
}
