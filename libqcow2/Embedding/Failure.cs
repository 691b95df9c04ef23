using System;
using System.IO;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Exports;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Embedding;

/// <summary>Why a call did not work, as a program of another language learns it.</summary>
/// <param name="Error">a negative errno</param>
/// <param name="Text">one line in house style</param>
internal readonly record struct Failure(int Error, string Text)
{
    private const int LargestErrno = 4095;

    /// <param name="error">whatever was thrown</param>
    /// <param name="what">what was being done: "cannot open disk.qcow2"</param>
    public static Failure Of(Exception error, string what) => new(ErrnoOf(error), Refusals.From(error, what).Message);

    public static Failure Of(in Outcome outcome, string what) => new(
        ErrnoOf(outcome.Kind), OutcomeException.Compose(outcome.What ?? what, outcome.Why ?? "unknown", outcome.Hint));

    /// <summary>As <see cref="Of(Exception, string)"/>, of a device that may have ended.</summary>
    public static Failure OfDevice(Exception error, string what) => Ended(Of(error, what));

    /// <summary>As <see cref="Of(in Outcome, string)"/>, of a device that may have ended.</summary>
    public static Failure OfDevice(in Outcome outcome, string what) => Ended(Of(outcome, what));

    private static Failure Ended(in Failure failure) => failure.Error == -Errno.ENODEV ? failure with { Error = -Errno.ESRCH } : failure;

    private static int ErrnoOf(Exception error) => error switch
    {
        OutcomeException { Error: not 0 } known => known.Error,
        OutcomeException { Kind: OutcomeKind.Failed, InnerException: { } inner } => ErrnoOf(inner),
        OutcomeException refusal => ErrnoOf(refusal.Kind),
        ImageLockedException => -Errno.EBUSY,
        ImageFormatException { IsUnsupported: true } => -Errno.EOPNOTSUPP,
        ImageFormatException { Field: "snapshot" } => -Errno.ENOENT,
        ImageFormatException => -Errno.EUCLEAN,
        FileNotFoundException => -Errno.ENOENT,
        UnauthorizedAccessException => -Errno.EACCES,
        ExportRefusedException { Refusal: ExportRefusal.Unavailable } => -Errno.EOPNOTSUPP,
        ExportRefusedException { Refusal: ExportRefusal.Denied } => -Errno.EPERM,
        ExportRefusedException { Refusal: ExportRefusal.Busy } => -Errno.EBUSY,
        OutOfMemoryException => -Errno.ENOMEM,
        TimeoutException => -Errno.ETIMEDOUT,
        IOException { HResult: > 0 and <= LargestErrno } known => -known.HResult,
        _ => -Errno.EIO,
    };

    private static int ErrnoOf(OutcomeKind kind) => kind switch
    {
        OutcomeKind.Done => 0,
        OutcomeKind.Invalid => -Errno.EINVAL,
        OutcomeKind.NotFound => -Errno.ENODEV,
        OutcomeKind.Busy => -Errno.EBUSY,
        _ => -Errno.EIO,
    };
}
