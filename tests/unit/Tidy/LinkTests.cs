using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using System.Text.RegularExpressions;
using Xunit;

namespace Qcow2Blk.Tests.Tidy;

/// <summary>A reader who follows a link of a page arrives: at a file of the checkout, and at the heading that the link names.</summary>
public sealed partial class LinkTests
{
    /// <summary>Every page of the checkout.</summary>
    private static readonly string[] s_pages =
    [
        .. SourceTree.Files("docs", "*.md").Concat(SourceTree.Files("tests", "*.md")).Concat(SourceTree.Files("bindings", "*.md"))
            .Concat(Directory.EnumerateFiles(SourceTree.Root, "*.md").Select(path => Path.GetFileName(path))),
    ];

    [Fact]
    public void Links_between_pages_lead_somewhere()
    {
        Assert.Contains("README.md", s_pages);
        var dead = s_pages.SelectMany(page => LinksOf(SourceTree.Read(page)).Select(link => (page, link, why: WhyDead(page, link))))
            .Where(found => found.why is not null).Select(found => $"{found.page}: {found.link}: {found.why}");
        Assert.True(!dead.Any(), string.Join(Environment.NewLine, dead));
    }

    [Theory]
    [InlineData("nowhere.md", "there is no such file")]
    [InlineData("#nowhere", "the page has no such heading")]
    [InlineData("docs/ublk.md#nowhere", "the page has no such heading")]
    [InlineData("../outside.md", "leads out of the checkout")]
    [InlineData("docs/ublk.md#when-the-server-dies", null)]
    [InlineData("https://example.org/", null)]
    public void Dead_link_is_told_from_a_good_one(string link, string? why) => Assert.Equal(why, WhyDead("README.md", link));

    [Fact]
    public void Link_in_code_is_not_a_link() =>
        Assert.Equal(["b.md"], LinksOf("`[a](a.md)` [b](b.md)\n```\n[c](c.md)\n```\n"));

    [Theory]
    [InlineData("How fast", "how-fast")]
    [InlineData("A log is replayed only over the image that its server left", "a-log-is-replayed-only-over-the-image-that-its-server-left")]
    [InlineData("The `cow` filter, and qcow2's own", "the-cow-filter-and-qcow2s-own")]
    public void Anchor_of_a_heading_is_what_forges_make_of_it(string heading, string anchor) => Assert.Equal(anchor, AnchorOf(heading));

    /// <summary>The targets of a page's links and pictures.</summary>
    private static IEnumerable<string> LinksOf(string text) =>
        Link().Matches(Code().Replace(text, "")).Select(match => match.Groups["target"].Value);

    /// <summary>Why a reader of a page would not arrive; null if they would.</summary>
    private static string? WhyDead(string page, string link)
    {
        if (link.Contains("://", StringComparison.Ordinal) || link.StartsWith("mailto:", StringComparison.Ordinal))
            return null;
        var parts = link.Split('#', 2);
        var target = parts[0].Length == 0 ? page : Path.Combine(Path.GetDirectoryName(page)!, parts[0]);
        var path = Path.GetFullPath(Path.Combine(SourceTree.Root, target));
        if (!path.StartsWith(SourceTree.Root + "/", StringComparison.Ordinal))
            return "leads out of the checkout";
        if (!File.Exists(path) && !Directory.Exists(path))
            return "there is no such file";
        return parts.Length == 1 || AnchorsOf(File.ReadAllText(path)).Contains(parts[1]) ? null : "the page has no such heading";
    }

    private static HashSet<string> AnchorsOf(string text) =>
        [.. Heading().Matches(Fence().Replace(text, "")).Select(match => AnchorOf(match.Groups["words"].Value))];

    /// <summary>As GitHub and GitLab make it: small letters, digits, hyphens and underscores stay, a blank becomes a hyphen.</summary>
    private static string AnchorOf(string heading)
    {
        var anchor = new StringBuilder();
        foreach (var letter in heading.Trim().ToLowerInvariant())
        {
            if (char.IsLetterOrDigit(letter) || letter is '-' or '_')
                anchor.Append(letter);
            else if (letter == ' ')
                anchor.Append('-');
        }

        return anchor.ToString();
    }

    [GeneratedRegex(@"\]\((?<target>[^)\s]+)\)")]
    private static partial Regex Link();

    [GeneratedRegex(@"^#{1,6} (?<words>.+)$", RegexOptions.Multiline)]
    private static partial Regex Heading();

    [GeneratedRegex(@"^```.*?^```", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex Fence();

    [GeneratedRegex(@"^```.*?^```|`[^`\n]*`", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex Code();
}
