using System.Collections.Generic;
using Qcow2Blk.Cli.Terminal;
using Xunit;

namespace Qcow2Blk.Tests.Cli.Terminal;

/// <summary>What text looks like on a terminal: its width, and whether it has colours.</summary>
public sealed class TextTests
{
    [Theory]
    [InlineData("", 0)]
    [InlineData("disk", 4)]
    [InlineData("日本語", 6)]
    [InlineData("e\u0301", 1)]
    [InlineData("한글", 4)]
    [InlineData("\U0001F600", 2)]
    [InlineData("\uFF21", 2)]
    [InlineData("Straße", 6)]
    public void Width_is_that_of_a_terminal(string text, int width) => Assert.Equal(width, TextWidth.Of(text));

    [Theory]
    [InlineData("/data/disk.qcow2", 12, "...isk.qcow2")]
    [InlineData("/data/日本語.qcow2", 12, "...語.qcow2")]
    [InlineData("short", 12, "short")]
    public void Path_loses_its_beginning(string path, int width, string shown) => Assert.Equal(shown, TextWidth.CutFront(path, width));

    [Theory]
    [InlineData("a-long-name", 6, "a-l...")]
    [InlineData("日本語日本語", 8, "日本...")]
    public void Name_loses_its_end(string name, int width, string shown) => Assert.Equal(shown, TextWidth.Cut(name, width));

    [Theory]
    [InlineData(true, "TERM=xterm", true)]
    [InlineData(false, "TERM=xterm", false)]
    [InlineData(true, "TERM=dumb", false)]
    [InlineData(true, "", false)]
    [InlineData(true, "TERM=xterm NO_COLOR=1", false)]
    [InlineData(true, "TERM=xterm NO_COLOR=", true)]
    [InlineData(false, "CLICOLOR_FORCE=1", true)]
    [InlineData(false, "CLICOLOR_FORCE=0", false)]
    [InlineData(false, "CLICOLOR_FORCE=1 NO_COLOR=1", false)]
    public void Colours_are_for_terminals_and_for_who_wants_them(bool isTerminal, string environment, bool coloured)
    {
        var variables = new Dictionary<string, string>();
        foreach (var pair in environment.Split(' ', System.StringSplitOptions.RemoveEmptyEntries))
            variables[pair.Split('=')[0]] = pair.Split('=')[1];
        Assert.Equal(coloured, Style.Wanted(isTerminal, variables.GetValueOrDefault));
    }
}
