using System;
using System.Collections.Generic;

namespace Qcow2Blk.Cli.Mount;

/// <summary>One option of a list as mount(8) writes it: name or name=value.</summary>
/// <param name="Name">what stands before the first =</param>
/// <param name="Value">what stands behind it, without the quotes around it; null if there is none</param>
/// <param name="Text">all of it as it was written</param>
internal readonly record struct MountOption(string Name, string? Value, string Text)
{
    /// <summary>Options stand between commas, but a comma within double quotes is part of a value (context="a,b").</summary>
    internal static IReadOnlyList<MountOption> Split(string list)
    {
        ArgumentNullException.ThrowIfNull(list);
        var options = new List<MountOption>();
        var quoted = false;
        var start = 0;
        for (var i = 0; i <= list.Length; i++)
        {
            if (i < list.Length && list[i] == '"')
                quoted = !quoted;
            if (i < list.Length && (list[i] != ',' || quoted))
                continue;
            if (i > start)
                options.Add(Parse(list[start..i]));
            start = i + 1;
        }

        return options;
    }

    private static MountOption Parse(string text)
    {
        var equals = text.IndexOf('=', StringComparison.Ordinal);
        if (equals < 0)
            return new MountOption(text, null, text);
        var value = text[(equals + 1)..];
        return new MountOption(text[..equals], value is ['"', .., '"'] ? value[1..^1] : value, text);
    }
}
