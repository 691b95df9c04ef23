using System.CommandLine;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Cli;

/// <summary><c>--lock-timeout</c> of the verbs that open an image for a device.</summary>
internal static class LockTimeout
{
    internal static Option<string> Option(string usual) => Verb.Text("--lock-timeout", "SECONDS",
        $"how long to wait for an image lock that no living process holds: a server that died may still be writing [default: {usual}]");

    /// <returns>null if it was not given</returns>
    /// <exception cref="OutcomeException">usage</exception>
    internal static int? Read(ParseResult parsed, Option<string> option) => Verb.Whole(parsed, option) is not { } seconds ? null
        : seconds is >= 0 and <= AttachRules.MaxLockTimeout ? seconds
        : throw new OutcomeException(
            OutcomeKind.Invalid, $"--lock-timeout {seconds} is out of range", $"0 to {AttachRules.MaxLockTimeout} seconds");
}
