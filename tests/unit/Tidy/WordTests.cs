using System;
using System.Collections.Generic;
using System.Linq;
using System.Text.RegularExpressions;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Xunit;

namespace Qcow2Blk.Tests.Tidy;

/// <summary>Words that a native reader stumbles on: words.txt lists them, with what to write instead.</summary>
public sealed class WordTests
{
    private static readonly IReadOnlyList<(Regex Pattern, string Instead)> s_words = ReadList();

    [Fact]
    public void Messages_and_help_texts_are_plain_English()
    {
        var wrong = SourceTree.Shipped().SelectMany(file => Texts(file)
            .SelectMany(text => Stumbles(text.Text).Select(word => $"{file}:{text.Line}: {word}")));
        Assert.True(!wrong.Any(), string.Join(Environment.NewLine, wrong));
    }

    [Fact]
    public void Pages_are_plain_English()
    {
        var pages = SourceTree.Files("docs", "*.md").Concat(SourceTree.Files("docs/man", "*"))
            .Concat(["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]);
        var wrong = pages.SelectMany(page => SourceTree.Read(page).Split('\n')
            .SelectMany((line, index) => Stumbles(line).Select(word => $"{page}:{index + 1}: {word}")));
        Assert.True(!wrong.Any(), string.Join(Environment.NewLine, wrong));
    }

    [Theory]
    [InlineData("/dev/loop0 is no ublk device")]
    [InlineData("attach the image anew")]
    [InlineData("--force and --lazy exclude each other")]
    public void List_catches_what_it_was_made_for(string text) => Assert.NotEmpty(Stumbles(text));

    [Theory]
    [InlineData("the image is no longer there, and there is no other")]
    [InlineData("recommended: a renewed manewuver")]
    public void List_leaves_ordinary_words_alone(string text) => Assert.Empty(Stumbles(text));

    private static IEnumerable<string> Stumbles(string text) =>
        s_words.SelectMany(word => word.Pattern.Matches(text).Select(match => $"\"{match.Value}\": {word.Instead}"));

    /// <summary>The literal parts of strings, an interpolated value being a blank.</summary>
    private static IEnumerable<(int Line, string Text)> Texts(string file)
    {
        var tree =
            CSharpSyntaxTree.ParseText(SourceTree.Read(file), CSharpParseOptions.Default.WithLanguageVersion(LanguageVersion.Preview));
        foreach (var node in tree.GetRoot().DescendantNodes())
        {
            var text = node switch
            {
                LiteralExpressionSyntax { RawKind: (int)SyntaxKind.StringLiteralExpression } literal => literal.Token.ValueText,
                InterpolatedStringExpressionSyntax parts =>
                    string.Concat(
                        parts.Contents.Select(part => part is InterpolatedStringTextSyntax plain ? plain.TextToken.ValueText : "X")),
                _ => null,
            };
            if (text is not null)
                yield return (tree.GetLineSpan(node.Span).StartLinePosition.Line + 1, text);
        }
    }

    private static (Regex Pattern, string Instead)[] ReadList() =>
    [
        .. SourceTree.Read("tests/unit/Tidy/words.txt").Split('\n').Where(line => line.Length > 0 && line[0] != '#')
            .Select(line => line.Split(" -> ", 2)).Select(pair => (new Regex(pair[0], RegexOptions.IgnoreCase), pair[1])),
    ];
}
