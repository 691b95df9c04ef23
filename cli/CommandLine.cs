using System;
using System.Collections.Generic;
using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using System.CommandLine.Parsing;
using System.Linq;
using System.Reflection;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Cli;

/// <summary>The whole command line.</summary>
internal sealed class CommandLine
{
    private static readonly string[] s_examples =
    [
        "mount $(qcow2blk attach disk.qcow2) /mnt",
        "qcow2blk attach disk.qcow2 --socket /run/disk.sock",
        "qcow2blk suspend disk && qemu-img snapshot -c before disk.qcow2; qcow2blk resume disk",
        "qcow2blk status disk",
        "qcow2blk detach disk",
    ];

    /// <summary>A word that begins with @ is a word: never a file whose content becomes our command line.</summary>
    private static readonly ParserConfiguration s_parsing = new() { ResponseFileTokenReplacer = null };

    private readonly RootCommand _root = new("attach qcow2 images and serve them as block devices");

    internal CommandLine(IDeviceFactory factory)
    {
        _root.Subcommands.Add(new AttachVerb(factory));
        _root.Subcommands.Add(new DetachVerb());
        _root.Subcommands.Add(new SuspendVerb());
        _root.Subcommands.Add(new ResumeVerb());
        _root.Subcommands.Add(new SetVerb());
        _root.Subcommands.Add(new UpgradeVerb());
        _root.Subcommands.Add(new ListVerb());
        _root.Subcommands.Add(new StatusVerb());
        _root.Subcommands.Add(new TopVerb());
        _root.Subcommands.Add(new TraceVerb());
        _root.Subcommands.Add(new MetricsVerb());
        _root.Subcommands.Add(new DoctorVerb());
        _root.Subcommands.Add(new CleanupVerb());
        _root.Subcommands.Add(new CreateVerb());
        _root.Subcommands.Add(new InfoVerb());
        _root.Subcommands.Add(new MapVerb());
        _root.Subcommands.Add(new BitmapVerb());
        _root.Subcommands.Add(new CheckpointVerb());
        _root.Subcommands.Add(new CheckVerb());
        _root.Subcommands.Add(new ManifestVerb());
        _root.Subcommands.Add(new SnapshotVerb());
        _root.Subcommands.Add(new ResizeVerb());
        _root.Subcommands.Add(new CacheVerb());
        _root.Subcommands.Add(new CompletionVerb());
        foreach (var option in _root.Options)
        {
            if (option is HelpOption { Action: HelpAction inner } help)
                help.Action = new HelpWithExamples(inner);
            else if (option is VersionOption version)
                version.Action = new PrintVersion();
        }
    }

    /// <summary>What the manual is compared with.</summary>
    internal Command Root => _root;

    internal int Run(string[] args)
    {
        var parsed = _root.Parse(args, s_parsing);
        var runsVerb = parsed.Action is not (HelpWithExamples or PrintVersion) && parsed.CommandResult.Command is Verb;
        if (parsed.Action is ParseErrorAction || (runsVerb && UnknownOption(parsed) is not null))
            return Refuse(parsed);
        try
        {
            return parsed.Invoke(new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null });
        }
        catch (Exception error)
        {
            var refusal = Refusals.From(error, "command failed");
            Output.Error(refusal);
            return (int)ExitCodes.Of(refusal.Kind);
        }
    }

    private static int Refuse(ParseResult parsed)
    {
        var command = parsed.CommandResult.Command;
        var noVerb = command is RootCommand;
        var verb = noVerb ? "" : command.Name + " ";
        // A word that nobody knows explains what is missing, not the other way round.
        var unknown = UnknownOption(parsed) ?? (parsed.UnmatchedTokens.Count > 0 ? parsed.UnmatchedTokens[0] : null);
        var meant = unknown is null ? null : Nearest.Hint(unknown, Known(command, unknown));
        var why = unknown is not null ? $"\"{unknown}\" is not recognized{(meant is null ? "" : "; " + meant)}"
            : noVerb ? "it has no verb"
            : HouseStyle.Of(parsed.Errors[0].Message);
        Output.Error($"bad {verb}command line", why, $"see \"qcow2blk {verb}--help\"");
        return (int)((command as Verb)?.ExitOf(OutcomeKind.Invalid) ?? ExitCode.Usage);
    }

    /// <summary>What could have been meant: an option of the command, or one of its verbs.</summary>
    private static IEnumerable<string> Known(Command command, string unknown) => unknown.StartsWith('-')
        ? command.Options.Where(option => !option.Hidden).SelectMany(option => option.Aliases.Prepend(option.Name))
        : command.Subcommands.Where(verb => !verb.Hidden).Select(verb => verb.Name);

    /// <summary>The parser takes an option that it does not know for an argument: a file named "--sokcet".</summary>
    private static string? UnknownOption(ParseResult parsed)
    {
        if (parsed.Tokens.Any(token => token.Type == TokenType.DoubleDash))
            return null;
        return parsed.CommandResult.Children.OfType<ArgumentResult>().SelectMany(argument => argument.Tokens)
            .Concat(parsed.CommandResult.Tokens)
            .FirstOrDefault(token => token.Value.Length > 1 && token.Value[0] == '-'
                && (parsed.CommandResult.Command as Verb)?.IsValue(token.Value) != true)?.Value;
    }

    private sealed class HelpWithExamples(HelpAction inner) : SynchronousCommandLineAction
    {
        public override bool Terminating => true;

        public override int Invoke(ParseResult parseResult)
        {
            inner.Invoke(parseResult);
            var command = parseResult.CommandResult.Command;
            var examples = command is Verb verb ? verb.Examples : s_examples;
            parseResult.InvocationConfiguration.Output.WriteLine($"Manual:\n  man qcow2blk{(command is Verb ? "-" + command.Name : "")}\n");
            parseResult.InvocationConfiguration.Output.WriteLine("Examples:");
            foreach (var example in examples)
                parseResult.InvocationConfiguration.Output.WriteLine("  " + example);
            parseResult.InvocationConfiguration.Output.WriteLine();
            return 0;
        }
    }

    private sealed class PrintVersion : SynchronousCommandLineAction
    {
        public override bool Terminating => true;

        public override int Invoke(ParseResult parseResult)
        {
            var version = typeof(CommandLine).Assembly
                .GetCustomAttributes<AssemblyInformationalVersionAttribute>().Select(attribute => attribute.InformationalVersion)
                .FirstOrDefault("unknown");
            Output.Line($"qcow2blk {version}");
            return 0;
        }
    }
}
