using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.RegularExpressions;
using Qcow2Blk.Tests.Tidy;

namespace Qcow2Blk.Tests.Cli;

/// <summary>
/// A page of docs/man as its items: lines from ".It" on. The first paragraph of an item is what the command line says of it, word for
/// word; what stands behind a ".Pp" is written by hand.
/// </summary>
internal sealed class ManualPage
{
    private const int Width = 78;
    private readonly List<string> _lines;

    private ManualPage(string path)
    {
        Path = path;
        _lines = [.. SourceTree.Read(path).Split('\n')];
    }

    internal string Path { get; }

    internal string Text => string.Join('\n', _lines);

    /// <summary>Every item of a list, as it stands behind ".It".</summary>
    internal IEnumerable<string> Items => _lines.Where(IsItem).Select(line => line[4..]);

    internal static ManualPage? Find(string name) =>
        File.Exists(System.IO.Path.Combine(SourceTree.Root, "docs/man", name)) ? new ManualPage("docs/man/" + name) : null;

    /// <summary>The lines of a section, without its heading.</summary>
    internal string Section(string heading) =>
        string.Join('\n', _lines.SkipWhile(line => line != ".Sh " + heading).Skip(1)
            .TakeWhile(line => !line.StartsWith(".Sh ", StringComparison.Ordinal)));

    /// <summary>The first paragraph of an item, in one line and without escapes; null if there is not such an item.</summary>
    internal string? FirstParagraph(string item)
    {
        var (first, count) = Find(".It " + item, _lines);
        return first < 0 ? null : Plain(string.Join(' ', _lines.GetRange(first, count)));
    }

    /// <summary>Puts that paragraph there, where there is such an item.</summary>
    internal void Replace(string item, string paragraph)
    {
        var (first, count) = Find(".It " + item, _lines);
        if (first < 0 || Plain(string.Join(' ', _lines.GetRange(first, count))) == paragraph)
            return;
        _lines.RemoveRange(first, count);
        _lines.InsertRange(first, Written(paragraph));
    }

    internal void Save() => File.WriteAllText(System.IO.Path.Combine(SourceTree.Root, Path), Text);

    /// <summary>A paragraph as mdoc: each sentence begins a line, and what begins with a dash is not hyphenated.</summary>
    internal static IEnumerable<string> Written(string paragraph)
    {
        var escaped = Regex.Replace(paragraph, @"(?<= |^)-+(?=\w)", dashes => dashes.Value.Replace("-", "\\-", StringComparison.Ordinal));
        foreach (var sentence in Regex.Split(escaped, @"(?<=\.) (?=[A-Z])"))
        {
            var line = "";
            foreach (var word in sentence.Split(' '))
            {
                if (line.Length > 0 && line.Length + 1 + word.Length > Width)
                {
                    yield return line;
                    line = "";
                }

                line += (line.Length > 0 ? " " : "") + word;
            }

            yield return line;
        }
    }

    private static (int First, int Count) Find(string item, List<string> lines)
    {
        var first = lines.IndexOf(item) + 1;
        return first == 0 ? (-1, 0)
            : (first, lines.Skip(first).TakeWhile(line => !IsItem(line) && line is not (".Pp" or ".El") && !IsList(line)).Count());
    }

    private static string Plain(string text) => text.Replace("\\", "", StringComparison.Ordinal);

    private static bool IsItem(string line) => line.StartsWith(".It ", StringComparison.Ordinal);

    private static bool IsList(string line) => line.StartsWith(".Bl ", StringComparison.Ordinal);
}
