using System;
using System.Collections.Generic;
using System.CommandLine;
using System.IO;
using System.Linq;
using Qcow2Blk.Cli;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Tests.Devices.Options;
using Qcow2Blk.Tests.Tidy;
using Xunit;

namespace Qcow2Blk.Tests.Cli;

/// <summary>What the table of options declares is what the command line, its help, its completions and its page show.</summary>
public sealed class TableOptionsTests
{
    private const string Page = "docs/attach-options.md";

    private static readonly Lazy<string> s_help = new(() => Command.Run("attach", "--help").Output);

    public static TheoryData<string> Public() => [.. Declared.Select(option => option.Name)];

    private static IEnumerable<AttachOption> Declared => AttachOptionTable.All.Where(option => option.IsPublic);

    [Fact]
    public void Any_options_survive_the_way_over_the_command_line()
    {
        for (var seed = 0; seed < 1000; seed++)
        {
            var options = SampleSettings.Random(seed);
            var read = Parse([.. Declared.SelectMany(option => Words(option, options))]);
            Assert.True(SampleSettings.AreSame(options, read), $"seed {seed}: {options} became {read}");
        }
    }

    [Theory]
    [MemberData(nameof(Public))]
    public void Option_is_in_help_with_its_value_and_default(string name)
    {
        var option = AttachOptionTable.Named(name);
        var line = s_help.Value.Split('\n').Where(line => line.Trim().Split(' ')[0] == option.Switch);
        if (option.IsHidden)
            Assert.Empty(line);
        else
            Assert.Equal(LineOf(option), Columns(Assert.Single(line)));
    }

    [Fact]
    public void Help_has_the_order_of_the_table() =>
        Assert.Equal(Declared.Where(option => !option.IsHidden).Select(option => option.Switch),
            s_help.Value.Split('\n').Select(line => line.Trim().Split(' ')[0])
                .Where(word => Declared.Any(option => option.Switch == word)));

    [Theory]
    [MemberData(nameof(Public))]
    public void Words_of_an_option_are_completed(string name)
    {
        var option = AttachOptionTable.Named(name);
        var line = $"attach x {option.Switch} ";
        var completed = Root().Parse(line).GetCompletions(line.Length).Select(item => item.Label).ToList();
        if (option.Words.Count > 0)
            Assert.Equal(option.Words.Order(StringComparer.Ordinal), completed.Order(StringComparer.Ordinal));
        var names = Root().Parse("attach x --").GetCompletions("attach x --".Length).Select(item => item.Label);
        Assert.Equal(!option.IsHidden, names.Contains(option.Switch));
    }

    /// <summary>$QCOW2BLK_WRITE_DOCS makes the page anew.</summary>
    [Fact]
    public void Page_says_what_the_table_says()
    {
        if (Environment.GetEnvironmentVariable("QCOW2BLK_WRITE_DOCS") is not null)
            File.WriteAllText(Path.Combine(SourceTree.Root, Page), Written(SourceTree.Read(Page)));
        Assert.Equal(Written(SourceTree.Read(Page)), SourceTree.Read(Page));
    }

    /// <summary>The page with the rows of the table in place of those that it has.</summary>
    private static string Written(string page)
    {
        var lines = page.Split('\n').ToList();
        var first = lines.FindIndex(line => line.StartsWith("|---", StringComparison.Ordinal)) + 1;
        var count = lines.Skip(first).TakeWhile(line => line.StartsWith('|')).Count();
        lines.RemoveRange(first, count);
        lines.InsertRange(first, Declared.Where(option => !option.IsHidden).Select(Row));
        return string.Join('\n', lines);
    }

    private static string Row(AttachOption option)
    {
        var written = option.ValueName is { } value ? $"{option.Switch} {value}" : option.Switch;
        var transports = option.IsOfBlockDevice ? "block devices" : "all";
        var kept = option.Life switch { OptionLife.Device => "device", OptionLife.Server => "server", _ => "start" };
        return $"| `{written.Replace("|", "\\|", StringComparison.Ordinal)}` | {option.Help} | {option.Default} | {transports} | {kept} |";
    }

    private static string LineOf(AttachOption option)
    {
        var value = option.ValueName is { } name ? $" <{name}>" : "";
        var usual = option.Default is { } given ? $" [default: {given}]" : "";
        return $"{option.Switch}{value} | {option.Help}{usual}";
    }

    /// <summary>Two columns of help, with a bar between them.</summary>
    private static string Columns(string line)
    {
        var end = line.IndexOf("  ", 2, StringComparison.Ordinal);
        return $"{line[..end].Trim()} | {line[end..].Trim()}";
    }

    private static IEnumerable<string> Words(AttachOption option, AttachOptions options) =>
        option.Texts(options).SelectMany(text => option.IsFlag ? (string[])[option.Switch] : [option.Switch, text]);

    private static RootCommand Root() => [new AttachVerb(null!)];

    private static AttachOptions Parse(string[] words)
    {
        var table = new TableOptions(Declared);
        var command = new RootCommand();
        foreach (var option in table.All)
            command.Options.Add(option);
        var parsed = command.Parse(words);
        Assert.Empty(parsed.Errors);
        var settings = new AttachSettings(new AttachOptions { Image = "/disk.qcow2" });
        table.Read(parsed, settings);
        return settings.Options;
    }
}
