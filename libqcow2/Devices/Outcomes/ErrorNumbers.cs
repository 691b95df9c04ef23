using System;
using System.IO;
using Qcow2Blk.Exports;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Devices.Outcomes;

/// <summary>What was refused, as the negative errno that says it best: for programs of other languages.</summary>
internal static class ErrorNumbers
{
    private const int LargestErrno = 4095;

    /// <param name="error">whatever was thrown</param>
    public static int Of(Exception error) => error switch
    {
        OutcomeException { Error: not 0 } known => known.Error,
        OutcomeException { InnerException: { } inner } => Of(inner),
        OutcomeException refusal => Of(refusal.Kind),
        ImageLockedException => -Errno.EBUSY,
        ImageFormatException { IsUnsupported: true } => -Errno.EOPNOTSUPP,
        ImageFormatException { IsMissing: true } => -Errno.ENOENT,
        ImageFormatException => -Errno.EUCLEAN,
        FileNotFoundException or DirectoryNotFoundException => -Errno.ENOENT,
        UnauthorizedAccessException => -Errno.EACCES,
        ExportRefusedException { Error: not 0 } known => known.Error,
        ExportRefusedException { Refusal: ExportRefusal.Unavailable } => -Errno.EOPNOTSUPP,
        ExportRefusedException { Refusal: ExportRefusal.Denied } => -Errno.EPERM,
        ExportRefusedException { Refusal: ExportRefusal.Busy } => -Errno.EBUSY,
        OutOfMemoryException => -Errno.ENOMEM,
        TimeoutException => -Errno.ETIMEDOUT,
        IOException { HResult: > 0 and <= LargestErrno } known => -known.HResult,
        _ => -Errno.EIO,
    };

    public static int Of(in Outcome outcome) => outcome.Error != 0 ? outcome.Error : Of(outcome.Kind);

    private static int Of(OutcomeKind kind) => kind switch
    {
        OutcomeKind.Done => 0,
        OutcomeKind.Invalid => -Errno.EINVAL,
        OutcomeKind.NotFound => -Errno.ENODEV,
        OutcomeKind.Busy => -Errno.EBUSY,
        _ => -Errno.EIO,
    };

    /// <returns>0 if it is not the number of an error</returns>
    public static int OfPeer(int number) => number is > 0 and <= LargestErrno ? -number : 0;
}
