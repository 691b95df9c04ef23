using System;
using System.IO;
using Qcow2Blk.Exports;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Logging;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Devices.Outcomes;

/// <summary>Turns whatever an attach or a command threw into the one line that its user gets.</summary>
internal static class Refusals
{
    /// <param name="error">anything</param>
    /// <param name="what">what was being done</param>
    public static OutcomeException From(Exception error, string what)
    {
        ArgumentNullException.ThrowIfNull(error);
        return error switch
        {
            OutcomeException refusal => refusal,
            ImageLockedException locked => new OutcomeException(OutcomeKind.Busy, what, InUse(locked, what), LockHint(locked), error),
            ImageFormatException refused =>
                new OutcomeException(OutcomeKind.Failed, what, WithoutRepeat(refused, what), refused.Hint, error),
            ExportRefusedException refused => new OutcomeException(
                refused.Refusal == ExportRefusal.Busy ? OutcomeKind.Busy : OutcomeKind.Failed, what, refused.Message, refused.Hint, error),
            RecoveryLogException refused =>
                new OutcomeException(OutcomeKind.Failed, what, refused.Message, RecoveryLogException.Hint, error),
            IOException or UnauthorizedAccessException or TimeoutException =>
                new OutcomeException(OutcomeKind.Failed, what, WithoutRepeat(HouseStyle.Of(error.Message), what), null, error),
            OutOfMemoryException => new OutcomeException(OutcomeKind.Failed, what, $"not enough memory: {HouseStyle.Of(error.Message)}",
                "a smaller --cache-size needs less", error),
            _ => new OutcomeException(OutcomeKind.Failed, what, $"internal error: {error.GetType().Name}: {error.Message}",
                "please report this", error),
        };
    }

    /// <summary>The image's path is not said twice where the sentence begins with it.</summary>
    private static string WithoutRepeat(ImageFormatException error, string what)
    {
        var repeated = $"{error.Path}: ";
        return what.EndsWith(error.Path, StringComparison.Ordinal) && error.Message.StartsWith(repeated, StringComparison.Ordinal)
            ? error.Message[repeated.Length..]
            : error.Message;
    }

    private static string WithoutRepeat(string message, string what) =>
        message.StartsWith($"{what}: ", StringComparison.Ordinal) ? message[(what.Length + 2)..] : message;

    private static string InUse(ImageLockedException locked, string what)
    {
        var image = what.Contains(locked.Path, StringComparison.Ordinal) ? "image" : $"image {locked.Path}";
        return $"{image} is in use by {locked.Holder}: {locked.Conflict}";
    }

    private static string LockHint(ImageLockedException locked) => locked.Waited == TimeSpan.Zero
        ? "detach or stop it, or wait"
        : $"waited {locked.Waited.TotalSeconds:0.#} s, as no running process seems to hold the lock: a server that died may still"
            + " be writing, --lock-timeout waits longer; or it is in use by another user, or in another container";
}
