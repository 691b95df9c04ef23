using System;
using Qcow2Blk.Format;

namespace Qcow2Blk.Devices.Outcomes;

/// <summary>
/// A refused command, in the three parts that the user sees as <c>qcow2blk: WHAT: WHY (HINT)</c>. Lower case, no
/// full stop, on one line.
/// </summary>
internal sealed class OutcomeException : Exception
{
    public OutcomeException(OutcomeKind status, string what, string why, string? hint = null)
        : base(Compose(what, why, hint))
    {
        Kind = status;
        What = what;
        Why = why;
        Hint = hint;
    }

    public OutcomeException(OutcomeKind status, string what, string why, string? hint, Exception inner)
        : base(Compose(what, why, hint), inner)
    {
        Kind = status;
        What = what;
        Why = why;
        Hint = hint;
    }

    public OutcomeKind Kind { get; }

    /// <summary>The negative errno that says it best, for programs of other languages; 0 where the kind has to do.</summary>
    public int Error { get; init; }

    /// <summary>Whether somebody tries the same again already: another attempt would be in the way.</summary>
    public bool IsTriedAgain { get; init; }

    /// <summary>Whether all that is missing is a place for state file and control socket, and will be: a server may do without.</summary>
    public bool IsRuntimeDirectory { get; init; }

    /// <summary>What was not done: "cannot attach disk.qcow2".</summary>
    public string What { get; }

    /// <summary>Why: file, field and value.</summary>
    public string Why { get; }

    /// <summary>What the user can do about it, if that is known.</summary>
    public string? Hint { get; }

    /// <summary>One line for people, whatever is in foreign text.</summary>
    public static string Compose(string what, string why, string? hint)
    {
        var line = hint is null ? $"{what}: {why}" : $"{what}: {why} ({hint})";
        return Printable.Escape(line);
    }
}
