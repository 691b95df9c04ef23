using System.Collections.Generic;

namespace Qcow2Blk.Devices.Outcomes;

/// <summary>The outcome of a command on a running device.</summary>
/// <param name="Kind"><see cref="OutcomeKind.Done"/> or why not</param>
/// <param name="What">what was not done; null when it was</param>
/// <param name="Why">the reason; null when it was done</param>
/// <param name="Hint">what the user can do about it, if that is known</param>
/// <param name="Note">
/// something harmless worth saying beside success ("already suspended"); the exit status stays 0
/// </param>
internal readonly record struct Outcome(OutcomeKind Kind, string? What, string? Why, string? Hint, string? Note)
{
    /// <summary>Open descriptors that go to whoever asked, and are closed here then; null: none.</summary>
    public IReadOnlyList<int>? Descriptors { get; init; }

    /// <summary>The negative errno that says it best; 0 where the kind has to do.</summary>
    public int Error { get; init; }

    /// <summary>What was asked for, as one JSON value; null where nothing was.</summary>
    public string? Json { get; init; }

    public bool Succeeded => Kind == OutcomeKind.Done;

    public static Outcome Done(string? note = null) => new(OutcomeKind.Done, null, null, null, note);

    public static Outcome Refused(OutcomeKind status, string what, string why, string? hint = null) =>
        new(status, what, why, hint, null);
}
