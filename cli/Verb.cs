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
            var refusal = Refusals.From(error, $"{Name} failed");
            Output.Error(refusal);
            return (int)ExitOf(refusal.Kind);
        }
    });

    /// <summary>Whether a word that begins with - is no option: -1G, for a verb that takes such sizes.</summary>
    internal virtual bool IsValue(string token) => false;

    /// <summary>The exit status of a command that was refused.</summary>
    internal virtual ExitCode ExitOf(OutcomeKind kind) => ExitCodes.Of(kind);

    protected internal static Option<bool> Flag(string name, string description) => new(name) { Description = description };

    protected internal static Option<string> Text(string name, string valueName, string description) =>
        new(name) { Description = description, HelpName = valueName };

    /// <summary>Numbers are read by us: the parser's own refusal names .NET types.</summary>
    /// <exception cref="OutcomeException">usage</exception>
    protected internal static double? Number(ParseResult parsed, Option<string> option)
    {
        if (parsed.GetValue(option) is not { } text)
            return null;
        return double.TryParse(text, NumberStyles.AllowDecimalPoint | NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture,
            out var value)
            ? value
            : throw new OutcomeException(OutcomeKind.Invalid, $"{option.Name} {text} is not a number",
                "digits, optionally with a decimal point");
    }

    protected static Option<bool> JsonFlag() => Flag("--json", "print JSON, as described in qcow2blk-json(5)");
}
