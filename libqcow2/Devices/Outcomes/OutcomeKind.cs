using System;

namespace Qcow2Blk.Devices.Outcomes;

/// <summary>How a command went. Programs get it as a word (the control protocol, JSON), shells as an exit status that cli gives.</summary>
public enum OutcomeKind
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

/// <summary>The kinds as words, in the order of the enum.</summary>
public static class OutcomeKinds
{
    private static readonly string[] s_words = ["done", "failed", "invalid", "not-found", "busy"];

    public static string Of(OutcomeKind kind) => s_words[(int)kind];

    /// <returns>failed for a word of a later version: it is not done, whatever it is</returns>
    public static OutcomeKind Parse(string? word) => Array.IndexOf(s_words, word) is > 0 and var kind ? (OutcomeKind)kind : OutcomeKind.Failed;
}
