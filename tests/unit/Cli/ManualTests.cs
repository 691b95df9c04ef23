using System;
using System.Collections.Generic;
using System.CommandLine;
using System.CommandLine.Help;
using System.Linq;
using System.Text.RegularExpressions;
using Qcow2Blk.Cli;
using Xunit;
using Syntax = System.CommandLine.Command;

namespace Qcow2Blk.Tests.Cli;

/// <summary>
/// What the command line can be told is on the pages of docs/man, in the words of its help, and nothing else is.
/// $QCOW2BLK_WRITE_DOCS writes those words into the items that a page has; items that it lacks are in the message of the test.
/// </summary>
public sealed class ManualTests
{
    private static readonly Syntax s_root = new CommandLine(null!).Root;

    private static IEnumerable<Syntax> Visible => s_root.Subcommands.Where(verb => !verb.Hidden);

    public static TheoryData<string> Verbs() => [.. Visible.Select(verb => verb.Name)];

    [Theory]
    [MemberData(nameof(Verbs))]
    public void Page_of_a_verb_has_its_options_in_the_words_of_help(string name)
    {
        var page = PageOf(name);
        var expected = OptionsOf(Verb(name)).ToDictionary(Item, option => Sentence(option.Description!));
        Compare(page, expected);
        Assert.Equal(expected.Keys.Order(StringComparer.Ordinal),
            page.Items.Where(item => item.StartsWith("Fl Fl ", StringComparison.Ordinal)).Order(StringComparer.Ordinal));
    }

    [Theory]
    [MemberData(nameof(Verbs))]
    public void Synopsis_of_a_verb_has_its_arguments_and_options(string name)
    {
        var synopsis = PageOf(name).Section("SYNOPSIS");
        Assert.All(Verb(name).Arguments, argument => Assert.Matches($@"\bAr {argument.Name}\b", synopsis));
        if (synopsis.Contains("Ar option ...", StringComparison.Ordinal))
            return;
        Assert.All(OptionsOf(Verb(name)), option => Assert.Matches($@"\bFl Fl {option.Name[2..]}\b", synopsis));
    }

    /// <summary>Text may also speak of the options of other verbs.</summary>
    [Theory]
    [MemberData(nameof(Verbs))]
    public void Page_of_a_verb_speaks_of_no_option_that_does_not_exist(string name)
    {
        var known = Visible.SelectMany(OptionsOf).Select(option => option.Name[2..]).ToHashSet(StringComparer.Ordinal);
        Assert.DoesNotContain(Regex.Matches(PageOf(name).Text, @"\bFl Fl ([a-z0-9-]+)").Select(match => match.Groups[1].Value),
            option => !known.Contains(option));
    }

    [Fact]
    public void First_page_lists_the_verbs_in_the_order_and_words_of_help()
    {
        var page = ManualPage.Find("qcow2blk.8")!;
        var expected = Visible.ToDictionary(verb => $"Xr qcow2blk-{verb.Name} 8", verb => Sentence(verb.Description!));
        Compare(page, expected);
        Assert.Equal(expected.Keys, page.Items.Where(item => item.StartsWith("Xr qcow2blk-", StringComparison.Ordinal)));
    }

    [Fact]
    public void First_page_lists_the_exit_statuses() =>
        Assert.Equal(Enum.GetValues<ExitCode>().Select(code => $"{(int)code}"),
            Regex.Matches(ManualPage.Find("qcow2blk.8")!.Section("EXIT STATUS"), @"(?m)^\.It (\d+)$")
                .Select(match => match.Groups[1].Value));

    [Theory]
    [MemberData(nameof(Verbs))]
    public void Help_of_a_verb_names_its_page(string name) =>
        Assert.Contains($"man qcow2blk-{name}\n", Command.Run(name, "--help").Output, StringComparison.Ordinal);

    [Fact]
    public void Help_names_the_first_page() => Assert.Contains("man qcow2blk\n", Command.Run("--help").Output, StringComparison.Ordinal);

    private static void Compare(ManualPage page, Dictionary<string, string> expected)
    {
        if (Environment.GetEnvironmentVariable("QCOW2BLK_WRITE_DOCS") is not null)
        {
            foreach (var (item, text) in expected)
                page.Replace(item, text);
            page.Save();
        }

        var missing = expected.Where(pair => page.FirstParagraph(pair.Key) != pair.Value).ToArray();
        Assert.True(missing.Length == 0, $"{page.Path} should have (QCOW2BLK_WRITE_DOCS=1 writes the text of an item):\n"
            + string.Concat(missing.Select(pair => $".It {pair.Key}\n{string.Join('\n', ManualPage.Written(pair.Value))}\n")));
    }

    private static ManualPage PageOf(string verb) =>
        ManualPage.Find($"qcow2blk-{verb}.8") ?? throw new Xunit.Sdk.XunitException($"docs/man/qcow2blk-{verb}.8 is missing");

    private static Syntax Verb(string name) => s_root.Subcommands.Single(verb => verb.Name == name);

    /// <summary>--help is described once, on the first page.</summary>
    private static IEnumerable<Option> OptionsOf(Syntax verb) => verb.Options.Where(option => !option.Hidden && option is not HelpOption);

    /// <summary>How the item of an option begins: all its names, and what stands for its value.</summary>
    private static string Item(Option option)
    {
        var names = string.Join(" , ", option.Aliases.Select(alias => $"Fl {alias[1..]}").Prepend($"Fl Fl {option.Name[2..]}"));
        return option.HelpName is { } value ? $"{names} Ar {value}" : names;
    }

    /// <summary>A line of help as a sentence, and its default as another. A word with a colon is a value.</summary>
    private static string Sentence(string help)
    {
        var parts = Regex.Match(help, @"^(?<text>.*?)( \[default: (?<default>.*)\])?$");
        var text = parts.Groups["text"].Value;
        var sentence = (Regex.IsMatch(text, "^[a-z]+:") ? text : char.ToUpperInvariant(text[0]) + text[1..]) + ".";
        return parts.Groups["default"] is { Success: true } usual ? $"{sentence} The default is {usual.Value}." : sentence;
    }
}
