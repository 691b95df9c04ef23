using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Runtime.CompilerServices;

namespace Qcow2Blk.Tests.Tidy;

/// <summary>The sources that these tests read: the checkout that they were built from.</summary>
internal static class SourceTree
{
    public static string Root { get; } = FindRoot();

    /// <summary>Files below a folder of the checkout, by their path relative to the root, in a fixed order.</summary>
    /// <param name="folder">relative to the root</param>
    /// <param name="pattern">of the file's name: *.cs</param>
    public static IReadOnlyList<string> Files(string folder, string pattern) =>
    [
        .. Directory.EnumerateFiles(Path.Combine(Root, folder), pattern, SearchOption.AllDirectories)
            .Select(path => Path.GetRelativePath(Root, path))
            .Where(path => !path.Split('/').Any(part => part is "bin" or "obj"))
            .Order(StringComparer.Ordinal),
    ];

    /// <summary>The C# of what users get.</summary>
    public static IReadOnlyList<string> Shipped() => [.. Files("libqcow2", "*.cs"), .. Files("abi", "*.cs"), .. Files("cli", "*.cs")];

    /// <summary>All code of the checkout: C#, and every script.</summary>
    public static IEnumerable<string> Sources() => Shipped().Concat(Files("tests", "*.cs")).Concat(Scripts());

    /// <summary>Scripts in bash and Python: by their names, or by their first line.</summary>
    public static IReadOnlyList<string> Scripts() =>
        [.. Files("packaging", "*").Concat(Files("tests", "*")).Where(file => Path.GetExtension(file) is ".sh" or ".py" || IsScript(file))];

    private static bool IsScript(string file)
    {
        if (Path.GetExtension(file).Length > 0)
            return false;
        using var stream = File.OpenRead(Path.Combine(Root, file));
        return stream.ReadByte() == '#' && stream.ReadByte() == '!';
    }

    public static string Read(string path) => File.ReadAllText(Path.Combine(Root, path));

    private static string FindRoot([CallerFilePath] string here = "")
    {
        for (var folder = Path.GetDirectoryName(here); folder is not null; folder = Path.GetDirectoryName(folder))
        {
            if (File.Exists(Path.Combine(folder, "Qcow2Aot.sln")))
                return folder;
        }

        throw new DirectoryNotFoundException($"no checkout above {here}");
    }
}
