using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Xunit;

namespace Qcow2Blk.Tests.Tidy;

/// <summary>What fits on a screen: lines, and files about one thing.</summary>
public sealed class SizeTests
{
    private const int LineLimit = 140;
    private const int FileLimit = 400;

    [Fact]
    public void Lines_have_at_most_140_columns()
    {
        var wrong = SourceTree.Sources().SelectMany(file => LinesOf(file).Where(line => line.Text.Length > LineLimit)
            .Select(line => $"{file}:{line.Number}: {line.Text.Length} columns"));
        Assert.True(!wrong.Any(), string.Join(Environment.NewLine, wrong));
    }

    [Fact]
    public void Files_have_at_most_400_lines()
    {
        var wrong = SourceTree.Sources().Select(file => (Name: file, Lines: LinesOf(file).Count())).Where(file => file.Lines > FileLimit);
        Assert.True(!wrong.Any(), string.Join(Environment.NewLine, wrong.Select(file => $"{file.Name}: {file.Lines} lines")));
    }

    /// <summary>The compiler has no rule for it, so both hands would stay.</summary>
    [Fact]
    public void Arrow_ends_a_line_and_begins_none()
    {
        var wrong = SourceTree.Sources().Where(file => Path.GetExtension(file) == ".cs")
            .SelectMany(file => LinesOf(file).Where(line => line.Text.TrimStart().StartsWith("=>", StringComparison.Ordinal))
                .Select(line => $"{file}:{line.Number}: {line.Text.Trim()}"));
        Assert.True(!wrong.Any(), string.Join(Environment.NewLine, wrong));
    }

    private static IEnumerable<(int Number, string Text)> LinesOf(string file) =>
        SourceTree.Read(file).TrimEnd('\n').Split('\n').Select((text, index) => (index + 1, text));
}
