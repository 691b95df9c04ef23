using System;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Embedding;

/// <summary>Why a call did not work, as a program of another language learns it.</summary>
/// <param name="Error">a negative errno</param>
/// <param name="Text">one line in house style</param>
internal readonly record struct Failure(int Error, string Text)
{
    /// <param name="error">whatever was thrown</param>
    /// <param name="what">what was being done: "cannot open disk.qcow2"</param>
    public static Failure Of(Exception error, string what) => new(ErrorNumbers.Of(error), Refusals.From(error, what).Message);

    public static Failure Of(in Outcome outcome, string what) => new(
        ErrorNumbers.Of(outcome), OutcomeException.Compose(outcome.What ?? what, outcome.Why ?? "unknown", outcome.Hint));

    /// <summary>As <see cref="Of(Exception, string)"/>, of a device that may have ended.</summary>
    public static Failure OfDevice(Exception error, string what) => Ended(Of(error, what));

    /// <summary>As <see cref="Of(in Outcome, string)"/>, of a device that may have ended.</summary>
    public static Failure OfDevice(in Outcome outcome, string what) => Ended(Of(outcome, what));

    private static Failure Ended(in Failure failure) => failure.Error == -Errno.ENODEV ? failure with { Error = -Errno.ESRCH } : failure;
}
