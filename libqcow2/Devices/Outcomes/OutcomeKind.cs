using Qcow2Blk.Format;

namespace Qcow2Blk.Devices.Outcomes;

/// <summary>How a command went. Programs get it as a word (the control protocol, JSON), shells as an exit status that cli gives.</summary>
internal enum OutcomeKind
{
    Done,

    /// <summary>The command was understood and tried, and did not work.</summary>
    Failed,

    /// <summary>The request makes no sense: nothing was tried.</summary>
    Invalid,

    /// <summary>No attached device answers to the given target.</summary>
    NotFound,

    /// <summary>Somebody else has the image (a lock), or the device is busy with something that must end first.</summary>
    Busy,
}

internal static class OutcomeKinds
{
    public static EnumWords<OutcomeKind> Words { get; } = new(
        (OutcomeKind.Done, "done"), (OutcomeKind.Failed, "failed"), (OutcomeKind.Invalid, "invalid"), (OutcomeKind.NotFound, "not-found"),
        (OutcomeKind.Busy, "busy"));

    /// <summary>What a peer says of a command that did not work.</summary>
    /// <returns>failed for a word of a later version, and for a contradiction: it is not done, whatever it is</returns>
    public static OutcomeKind OfRefusal(string? word) =>
        Words.TryParse(word) is { } kind and not OutcomeKind.Done ? kind : OutcomeKind.Failed;
}
