using System.Collections.Generic;

namespace Qcow2Blk.Devices.Outcomes;

/// <summary>The outcome of a command on a running device.</summary>
/// <param name="Status"><see cref="ExitStatus.Done"/> or why not</param>
/// <param name="What">what was not done; null when it was</param>
/// <param name="Why">the reason; null when it was done</param>
/// <param name="Hint">what the user can do about it, if that is known</param>
/// <param name="Note">
/// something harmless worth saying beside success ("already suspended"); the exit status stays 0
/// </param>
public readonly record struct DeviceResult(ExitStatus Status, string? What, string? Why, string? Hint, string? Note)
{
    /// <summary>Open descriptors that go to whoever asked, and are closed here then; null: none.</summary>
    public IReadOnlyList<int>? Descriptors { get; init; }

    public bool Succeeded => Status == ExitStatus.Done;

    public static DeviceResult Done(string? note = null) => new(ExitStatus.Done, null, null, null, note);

    public static DeviceResult Refused(ExitStatus status, string what, string why, string? hint = null)
        => new(status, what, why, hint, null);
}
