using System.CommandLine;
using System.IO;
using System.Reflection;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk completion SHELL</c>.</summary>
internal sealed class CompletionVerb : Verb
{
    private readonly Argument<string> _shell = new("SHELL") { Description = "bash, zsh or fish" };

    public CompletionVerb()
        : base("completion", "print the completion script of a shell",
            "source <(qcow2blk completion bash)",
            "qcow2blk completion fish > ~/.config/fish/completions/qcow2blk.fish")
    {
        _shell.CompletionSources.Add("bash", "zsh", "fish");
        Arguments.Add(_shell);
        Does(parsed => Print(parsed.GetValue(_shell)!));
    }

    private static ExitCode Print(string shell)
    {
        using var script = Assembly.GetExecutingAssembly().GetManifestResourceStream($"completion.{shell}")
            ?? throw new OutcomeException(OutcomeKind.Invalid, $"no completion for {shell}", "the shells are bash, zsh and fish");
        using var reader = new StreamReader(script);
        Output.Write(reader.ReadToEnd());
        return ExitCode.Done;
    }
}
