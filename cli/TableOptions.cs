using System;
using System.Collections.Generic;
using System.CommandLine;
using System.Linq;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Cli;

/// <summary>Options of <see cref="AttachOptionTable"/> on the command line of a verb.</summary>
internal sealed class TableOptions
{
    private readonly (AttachOption Declared, Option Option)[] _all;

    /// <param name="declared">the options</param>
    /// <param name="showDefaults">whether help says what holds where they are not given</param>
    internal TableOptions(IEnumerable<AttachOption> declared, bool showDefaults = true) =>
        _all = [.. declared.Select(option => (option, Make(option, showDefaults ? option.Default : null)))];

    /// <summary>One option that has another default with this verb.</summary>
    internal TableOptions(string name, string usual) =>
        _all = [(AttachOptionTable.Named(name), Make(AttachOptionTable.Named(name), usual))];

    /// <summary>Some options, by name.</summary>
    internal TableOptions(params IEnumerable<string> names)
        : this(names.Select(AttachOptionTable.Named))
    {
    }

    internal IEnumerable<Option> All => _all.Select(pair => pair.Option);

    /// <summary>Those that stand on the command line.</summary>
    internal IEnumerable<AttachOption> Given(ParseResult parsed) =>
        _all.Where(pair => IsGiven(parsed, pair.Option)).Select(pair => pair.Declared);

    /// <summary>Passes on what stands on the command line.</summary>
    /// <param name="parsed">the command line</param>
    /// <param name="settings">what takes it</param>
    /// <param name="which">only these; null for all</param>
    /// <exception cref="OutcomeException">usage: a value that an option cannot have</exception>
    internal void Read(ParseResult parsed, AttachSettings settings, Predicate<AttachOption>? which = null)
    {
        foreach (var (declared, option) in _all)
        {
            if (!IsGiven(parsed, option) || which?.Invoke(declared) == false)
                continue;
            foreach (var text in Texts(parsed, option))
                settings.Set(declared, text);
        }
    }

    /// <summary>What stands on the command line, by name, as it was written; the last one of each.</summary>
    /// <exception cref="OutcomeException">usage: a value that an option cannot have</exception>
    internal IReadOnlyDictionary<string, string> GivenTexts(ParseResult parsed)
    {
        AttachRules.CheckValues(Read(parsed));
        return _all.Where(pair => IsGiven(parsed, pair.Option))
            .ToDictionary(pair => pair.Declared.Name, pair => Texts(parsed, pair.Option)[^1]);
    }

    /// <summary>What stands on the command line, and nothing else.</summary>
    /// <exception cref="OutcomeException">usage: a value that an option cannot have</exception>
    internal AttachOptions Read(ParseResult parsed)
    {
        var settings = new AttachSettings(new AttachOptions { Image = "" });
        Read(parsed, settings);
        return settings.Options;
    }

    internal static bool IsGiven(ParseResult parsed, Option option) => parsed.GetResult(option) is { Implicit: false };

    private static Option Make(AttachOption declared, string? usual)
    {
        var description = declared.Help + (usual is null ? "" : $" [default: {usual}]");
        Option option = declared.IsFlag ? new Option<bool>(declared.Switch)
            : declared.IsList
                ? new Option<string[]>(declared.Switch) { Arity = ArgumentArity.OneOrMore, AllowMultipleArgumentsPerToken = false }
            : new Option<string>(declared.Switch);
        option.Description = description;
        option.HelpName = declared.ValueName;
        option.Hidden = declared.IsHidden;
        if (declared.Words.Count > 0)
            option.CompletionSources.Add(_ => declared.Words.Select(word => new System.CommandLine.Completions.CompletionItem(word)));
        return option;
    }

    private static string[] Texts(ParseResult parsed, Option option) => option switch
    {
        Option<bool> flag => [parsed.GetValue(flag) ? "true" : "false"],
        Option<string[]> list => parsed.GetValue(list) ?? [],
        Option<string> text => [parsed.GetValue(text)!],
        _ => [],
    };
}
