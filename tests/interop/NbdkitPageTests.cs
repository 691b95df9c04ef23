using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.RegularExpressions;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>docs/coming-from-nbdkit.md leaves out no option and no filter that the nbdkit of this machine has.</summary>
public sealed partial class NbdkitPageTests
{
    private static readonly string[] s_page = Checkout.Read("docs/coming-from-nbdkit.md").Split('\n');

    [Fact]
    public void Table_has_every_option_of_the_help_of_nbdkit()
    {
        var help = Option().Matches(Run.Program("nbdkit", "--help").Passed().Output).Select(match => match.Value).ToHashSet();
        Assert.Contains("--tls-psk", help);
        Assert.Empty(help.Except(Cells("## Command line").SelectMany(cell => Option().Matches(cell)).Select(match => match.Value)));
    }

    [Fact]
    public void Table_has_every_filter_that_is_installed()
    {
        var filters = Filters();
        Assert.Contains("cow", filters);
        Assert.Empty(filters.Except(Cells("## Filters").SelectMany(cell => cell.Split(',', StringSplitOptions.TrimEntries))));
    }

    private static HashSet<string> Filters()
    {
        const string setting = "filterdir=";
        var folder = Run.Program("nbdkit", "--dump-config").Passed().Output.Split('\n')
            .First(line => line.StartsWith(setting, StringComparison.Ordinal))[setting.Length..];
        return [.. Directory.EnumerateFiles(folder, "nbdkit-*-filter.so").Select(path => FilterFile().Match(path).Groups["name"].Value)];
    }

    /// <summary>The first cells of the table below a heading.</summary>
    private static IEnumerable<string> Cells(string heading) =>
        s_page.SkipWhile(line => line != heading).SkipWhile(line => !line.StartsWith('|')).TakeWhile(line => line.StartsWith('|')).Skip(2)
            .Select(line => line.Split('|')[1].Trim());

    [GeneratedRegex(@"(?<![\w-])--?[A-Za-z0-9][\w-]*")]
    private static partial Regex Option();

    [GeneratedRegex(@"nbdkit-(?<name>[^/]+)-filter\.so$")]
    private static partial Regex FilterFile();
}
