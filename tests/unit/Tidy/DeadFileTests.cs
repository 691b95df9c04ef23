using System;
using System.IO;
using System.Linq;
using System.Text.RegularExpressions;
using Xunit;

namespace Qcow2Blk.Tests.Tidy;

/// <summary>Nothing lies about that nobody uses.</summary>
public sealed class DeadFileTests
{
    /// <summary>Where the compiler finds its way in: nothing else names what is in these.</summary>
    private static readonly string[] s_entries = ["cli/Start/Program.cs", "libqcow2/AssemblyInfo.cs"];

    [Fact]
    public void Every_source_file_declares_something_that_another_one_uses()
    {
        var used = Reference.Uses().ToHashSet();
        var dead = SourceTree.Shipped().Except(s_entries)
            .Where(file => !used.Contains(file)).ToArray();
        Assert.True(dead.Length == 0, string.Join(Environment.NewLine, dead));
    }

    /// <summary>Those of docs/man refer to each other: tests/manual sees to it.</summary>
    [Fact]
    public void Every_page_is_linked_from_another_one()
    {
        var pages = SourceTree.Files("docs", "*").Where(page => !page.StartsWith("docs/man/", StringComparison.Ordinal))
            .Append("README.md").Append("CONTRIBUTING.md").ToArray();
        var texts = pages.Where(page => page.EndsWith(".md", StringComparison.Ordinal)).ToDictionary(page => page, SourceTree.Read);
        var dead = pages.Where(page => page != "README.md" && !texts.Any(other => other.Key != page && Links(other.Value, page)));
        Assert.True(!dead.Any(), string.Join(Environment.NewLine, dead));
    }

    [Fact]
    public void Every_script_is_named_by_something_that_runs_or_describes_it()
    {
        var all = SourceTree.Scripts().Concat(["Makefile", ".ci/run"]).ToArray();
        var texts = all.Concat(SourceTree.Files("tests", "*.md")).Concat(SourceTree.Files("tests", "*.cs")).Append("CONTRIBUTING.md")
            .ToDictionary(file => file, SourceTree.Read);
        var dead = SourceTree.Scripts()
            .Where(script => !IsFound(script) && !texts.Any(other => other.Key != script && Names(other.Value, script)));
        Assert.True(!dead.Any(), string.Join(Environment.NewLine, dead));
    }

    private static bool Links(string text, string page) =>
        text.Contains($"]({page})", StringComparison.Ordinal) || text.Contains($"{Path.GetFileName(page)})", StringComparison.Ordinal);

    /// <summary>Test cases and unit tests in Python are found by their folder.</summary>
    private static bool IsFound(string script) =>
        script.StartsWith("tests/kernel/cases/", StringComparison.Ordinal)
        || Path.GetFileName(script).StartsWith("test_", StringComparison.Ordinal);

    /// <summary>By its file name, or as Python imports it.</summary>
    private static bool Names(string text, string script)
    {
        var module = Path.GetFileNameWithoutExtension(script);
        return text.Contains(Path.GetFileName(script), StringComparison.Ordinal)
            || (Path.GetExtension(script) == ".py" && Regex.IsMatch(text, $@"\b(import|from)\b[^\n]*\b{module}\b"));
    }
}
