using System.Collections.Generic;
using System.Linq;
using System.Text.RegularExpressions;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>docs/coming-from-qemu-nbd.md leaves out no option that the qemu-nbd of this machine has.</summary>
public sealed partial class QemuNbdPageTests
{
    private const string Heading = "## Option by option";

    private static readonly string s_page = Checkout.Read("docs/coming-from-qemu-nbd.md");

    [Fact]
    public void Table_has_every_option_of_the_help_of_qemu_nbd()
    {
        var named = Rows().SelectMany(OptionsOf).ToHashSet();
        Assert.Empty(InHelp().Except(named));
    }

    /// <summary>A row in brackets is of another version, and says of which.</summary>
    [Fact]
    public void Table_has_no_option_that_qemu_nbd_never_had()
    {
        var help = InHelp();
        var unknown = Rows().Where(row => !row.Contains('(')).SelectMany(OptionsOf).Where(option => !help.Contains(option));
        Assert.Empty(unknown);
    }

    [Fact]
    public void No_option_stands_in_the_table_twice()
    {
        var options = Rows().SelectMany(OptionsOf).ToArray();
        Assert.Equal(options.Distinct(), options);
    }

    /// <summary>The options of ours that the page names exist.</summary>
    [Fact]
    public void Our_options_in_the_page_are_those_of_our_help()
    {
        string[] verbs = ["attach", "detach", "suspend", "resume", "list", "status", "set", "trace"];
        var ours = verbs.SelectMany(verb => Long().Matches(Run.Program(Command.Path, verb, "--help").Passed().Output))
            .Select(match => match.Value).ToHashSet();
        var named = Commands().Matches(s_page).SelectMany(match => Long().Matches(match.Value)).Select(match => match.Value);
        Assert.Empty(named.Except(ours));
    }

    /// <summary>What begins a line of the help, or follows a short name there.</summary>
    private static HashSet<string> InHelp()
    {
        var help = Run.Program("qemu-nbd", "--help").Passed().Output.Split('\n');
        var options = help.SelectMany(line => HelpLine().Match(line).Groups["option"].Captures).Select(capture => capture.Value)
            .ToHashSet();
        Assert.Contains("--fork", options);
        Assert.Contains("-T", options);
        return options;
    }

    /// <summary>The first cells of the table.</summary>
    private static IEnumerable<string> Rows() =>
        s_page.Split('\n').SkipWhile(line => line != Heading).SkipWhile(line => !line.StartsWith('|'))
            .TakeWhile(line => line.StartsWith('|')).Skip(2).Select(line => line.Split('|')[1]);

    private static IEnumerable<string> OptionsOf(string row) => InCell().Matches(row).Select(match => match.Groups[1].Value);

    [GeneratedRegex("`(-[^`]+)`")]
    private static partial Regex InCell();

    [GeneratedRegex(@"^ {2,6}(?<option>-[A-Za-z]|--[a-z-]+)(, (?<option>--[a-z-]+))?(?=[ =\[]|$)")]
    private static partial Regex HelpLine();

    [GeneratedRegex(@"--[a-z][a-z-]+")]
    private static partial Regex Long();

    /// <summary>A command of ours up to what ends it, or an inner command in quotes.</summary>
    [GeneratedRegex(@"qcow2blk (attach|detach|suspend|resume|list|status|set|trace)[^`'|\n]*")]
    private static partial Regex Commands();
}
