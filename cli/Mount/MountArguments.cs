using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Cli.Mount;

/// <summary>
/// The words that mount(8) and umount(8) give their helpers: SPEC DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE.SUBTYPE].
/// </summary>
internal sealed class MountArguments
{
    private const char Namespace = 'N', Options = 'o', Type = 't';

    private readonly List<string> _words = [];
    private readonly List<char> _flags = [];
    private readonly Dictionary<char, string> _values = [];

    /// <summary>What is no option, in order.</summary>
    internal IReadOnlyList<string> Words => _words;

    /// <summary>All that -o said.</summary>
    internal string OptionList => _values.GetValueOrDefault(Options, "");

    /// <summary>ext4 of "qcow2.ext4".</summary>
    internal string? Subtype =>
        _values.TryGetValue(Type, out var type) && type.Split('.', 2) is [_, { Length: > 0 } subtype] ? subtype : null;

    internal bool Fake => _flags.Contains('f');

    internal bool Verbose => _flags.Contains('v');

    /// <summary>The mount table of mount(8) is to be left alone.</summary>
    internal bool KeepsNoTable => _flags.Contains('n');

    /// <summary>For mount(8) or umount(8) again: those of these flags that were given, and the namespace.</summary>
    internal IEnumerable<string> PassOn(string flags) =>
        _flags.Where(flag => flags.Contains(flag, StringComparison.Ordinal)).Distinct().Select(flag => $"-{flag}")
            .Concat(_values.TryGetValue(Namespace, out var other) ? ["-N", other] : []);

    /// <summary>In a namespace of its own: what is mounted there cannot be seen from here.</summary>
    internal bool IsElsewhere => _values.ContainsKey(Namespace);

    /// <param name="arguments">the command line without the program's name</param>
    /// <param name="flags">options without a value</param>
    /// <param name="valued">options with one</param>
    /// <param name="words">how many other words there have to be</param>
    /// <param name="usage">for the refusal</param>
    /// <exception cref="OutcomeException">usage</exception>
    internal static MountArguments Parse(IReadOnlyList<string> arguments, string flags, string valued, int words, string usage)
    {
        ArgumentNullException.ThrowIfNull(arguments);
        var result = new MountArguments();
        var onlyWords = false;
        for (var i = 0; i < arguments.Count; i++)
        {
            var argument = arguments[i];
            if (argument == "--" && !onlyWords)
                onlyWords = true;
            else if (onlyWords || argument.Length < 2 || argument[0] != '-')
                result._words.Add(argument);
            else if (!result.Take(argument, i + 1 < arguments.Count ? arguments[i + 1] : null, flags, valued, out var tookNext))
                throw Refused($"{argument} is not recognized or has no value", usage);
            else if (tookNext)
                i++;
        }

        return result._words.Count == words ? result
            : throw Refused($"{words} names are needed, {result._words.Count} were given", usage);
    }

    /// <summary>A cluster of flags, of which the last may have a value: -vo ro.</summary>
    private bool Take(string argument, string? next, string flags, string valued, out bool tookNext)
    {
        tookNext = false;
        for (var i = 1; i < argument.Length; i++)
        {
            var flag = argument[i];
            if (valued.Contains(flag, StringComparison.Ordinal))
            {
                tookNext = i + 1 == argument.Length;
                var value = tookNext ? next : argument[(i + 1)..];
                if (value is null)
                    return false;
                _values[flag] = flag == Options && _values.TryGetValue(flag, out var before) ? $"{before},{value}" : value;
                return true;
            }

            if (!flags.Contains(flag, StringComparison.Ordinal))
                return false;
            _flags.Add(flag);
        }

        return true;
    }

    private static OutcomeException Refused(string why, string usage) =>
        new(OutcomeKind.Invalid, "bad command line", why, $"usage: {usage}");
}
