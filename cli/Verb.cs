using System;
using System.Collections.Generic;
using System.CommandLine;
using System.Globalization;
using System.Linq;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Cli;

/// <summary>A command whose help ends with examples, and whose errors become one line and an exit status.</summary>
internal abstract class Verb(string name, string description, params string[] examples) : Command(name, description)
{
    internal IReadOnlyList<string> Examples { get; } = examples;

    /// <summary>Sets what the verb does; what it throws is printed in house style.</summary>
    protected void Does(Func<ParseResult, ExitCode> action) => SetAction(parsed =>
    {
        try
        {
            return (int)action(parsed);
        }
        catch (Exception error)
        {
            OutcomeException refusal = Refusals.From(error, $"{Name} failed");
            Output.Error(refusal);
            return (int)ExitCodes.Of(refusal.Kind);
        }
    });

    protected internal static Option<bool> Flag(string name, string description) => new(name) { Description = description };

    protected internal static Option<string> Choice(string name, IReadOnlyList<string> words, string description)
    {
        var option = new Option<string>(name)
        {
            Description = description,
            HelpName = string.Join('|', words),
            DefaultValueFactory = _ => words[0],
        };
        option.CompletionSources.Add([.. words]);
        return option;
    }

    protected internal static Option<string> Text(string name, string valueName, string description)
        => new(name) { Description = description, HelpName = valueName };

    /// <summary>The word that was given for a choice.</summary>
    /// <exception cref="OutcomeException">usage: it is none of them</exception>
    protected internal static string Word(ParseResult parsed, Option<string> option, IReadOnlyList<string> words)
    {
        string word = parsed.GetValue(option)!;
        return words.Contains(word) ? word
            : throw new OutcomeException(OutcomeKind.Invalid, $"{option.Name} {word} is not known", $"it is one of {string.Join(", ", words)}", Nearest.Hint(word, words));
    }

    /// <summary>Numbers are read by us: the parser's own refusal names .NET types.</summary>
    /// <exception cref="OutcomeException">usage</exception>
    protected internal static double? Number(ParseResult parsed, Option<string> option)
    {
        if (parsed.GetValue(option) is not { } text)
            return null;
        return double.TryParse(text, NumberStyles.AllowDecimalPoint | NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out double value)
            ? value
            : throw new OutcomeException(OutcomeKind.Invalid, $"{option.Name} {text} is no number", "digits and perhaps a decimal point");
    }

    /// <exception cref="OutcomeException">usage: it is no whole number</exception>
    protected internal static int? Whole(ParseResult parsed, Option<string> option)
        => Number(parsed, option) is not { } value ? null
            : value == Math.Floor(value) && Math.Abs(value) < int.MaxValue ? (int)value
            : throw new OutcomeException(OutcomeKind.Invalid, $"{option.Name} {value} is no whole number", "digits only");

    protected static Option<bool> JsonFlag() => Flag("--json", "print JSON (docs/json.md)");

    /// <summary>An existing file, made absolute without following links: backing names are relative to what the user wrote.</summary>
    protected internal static string Absolute(string path)
        => System.IO.Path.IsPathRooted(path) ? path : System.IO.Path.Combine(Environment.CurrentDirectory, path);
}
