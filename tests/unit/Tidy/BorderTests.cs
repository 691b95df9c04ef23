using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.RegularExpressions;
using Xunit;

namespace Qcow2Blk.Tests.Tidy;

/// <summary>What the library throws at its border is one type: programs that use it need to know no other.</summary>
public sealed partial class BorderTests
{
    private const string Border = "OutcomeException";

    [Fact]
    public void Command_names_no_exception_of_the_library_but_one()
    {
        var own = SourceTree.Files("libqcow2", "*.cs").Select(Path.GetFileNameWithoutExtension)
            .Where(name => name!.EndsWith("Exception", StringComparison.Ordinal) && name != Border).ToHashSet();
        Assert.NotEmpty(own);
        var named = new List<string>();
        foreach (var file in SourceTree.Files("cli", "*.cs"))
        {
            named.AddRange(Word().Matches(SourceTree.Read(file)).Select(match => match.Value).Where(own.Contains)
                .Select(name => $"{file}: {name}"));
        }

        Assert.True(named.Count == 0, string.Join(Environment.NewLine, named));
    }

    [Fact]
    public void Only_the_command_knows_exit_statuses()
    {
        var numbers = SourceTree.Files("libqcow2", "*.cs")
            .Where(file => SourceTree.Read(file).Contains("ExitCode", StringComparison.Ordinal));
        Assert.True(!numbers.Any(), string.Join(Environment.NewLine, numbers));
    }

    [GeneratedRegex(@"\b\w+Exception\b")]
    private static partial Regex Word();
}
