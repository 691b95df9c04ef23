using System;
using System.Collections.Generic;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Bitmaps;
using Qcow2Blk.Image.Commit;
using Qcow2Blk.Image.Snapshots;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Opening;

/// <summary>Operations on the image itself, while it is open and nobody uses the disk.</summary>
internal sealed partial class Qcow2Image
{
    /// <summary>What can be done with bitmaps; but for the list, inside an edit.</summary>
    public BitmapEditor BitmapEditor => _bitmaps.Editor;

    public DirtyBitmap? FindBitmap(string name) => _bitmaps.Set.Find(name);

    /// <summary>Lets clients look at bitmaps, from now on.</summary>
    /// <exception cref="ImageFormatException">one of them is not there, or of no use</exception>
    /// <exception cref="System.IO.IOException">it cannot be read</exception>
    public LoopTask<int> ShowBitmapsAsync(IReadOnlyList<string> names) => _bitmaps.ShowAsync(names);

    /// <summary>
    /// Runs an operation that changes more than the mapping: header, snapshots, bitmaps. The caller has shut its gates and
    /// waited for its requests; nothing of the disk is in progress until this ends.
    /// </summary>
    /// <remarks>
    /// Before it begins, everything is committed, so the file says all that is known, and the recovery log is empty. Afterwards it is
    /// committed again, and the log is that of the image as it is now: a log that belongs to the header of before is never replayed.
    /// </remarks>
    public LoopTask<EditAnswer> EditAsync(Func<LoopTask<EditAnswer>> edit) => EditAsync(edit, ends: null);

    /// <param name="edit">what to do</param>
    /// <param name="ends">the snapshot whose last step it is; null for any other edit, before which one that was given up is ended</param>
    private async LoopTask<EditAnswer> EditAsync(Func<LoopTask<EditAnswer>> edit, SnapshotCreation? ends)
    {
        if (_closed)
            return EditAnswer.OfErrno(-Errno.ESHUTDOWN, "it is closed");
        if (ReadOnly)
            return EditAnswer.Refused(EditResult.Failed, "it is open read-only");
        if (_context.WriteErrorReason is { } reason)
            return EditAnswer.Refused(EditResult.Failed, $"it takes no more writes: {reason}");
        var writable = _writable!;
        if (writable.Snapshots.Pending is { } pending && pending != ends && !pending.IsGivenUp)
            return EditAnswer.Refused(EditResult.Busy, "a snapshot of it is being made");
        await writable.Changes.WaitForEndAsync();
        await Epochs.WaitForQuietAsync();
        var error = await writable.Preparation.RunAsync();
        if (error == 0)
            error = await writable.CommitAllAsync();
        if (error == 0)
            error = await writable.Preparation.StoreBitmapsAsync();
        if (error < 0)
            return EditAnswer.OfErrno(error, "cannot write out what is in memory");
        if (ends is null)
            error = await EndPendingSnapshotAsync();
        if (error < 0)
            return EditAnswer.OfErrno(error, "cannot take back a snapshot");

        // Who writes next says so again.
        writable.Preparation.Reopen();
        var answer = await TryEditAsync(edit);
        error = await writable.CommitAllAsync();
        if (error == 0)
            error = await FollowHeaderAsync();
        if (error == 0)
            error = await _bitmaps.ReloadAsync();
        return error < 0 && answer.Succeeded ? EditAnswer.OfErrno(error, "cannot commit it") : answer;
    }

    private async LoopTask<EditAnswer> TryEditAsync(Func<LoopTask<EditAnswer>> edit)
    {
        try
        {
            return await edit();
        }
        catch (ImageFormatException damage)
        {
            return EditAnswer.Refused(EditResult.Failed, damage.Why);
        }
        catch (InvariantBreach breach)
        {
            return EditAnswer.OfErrno(_context.Stop(breach), "it was stopped");
        }
    }

    /// <summary>The header may be another one now: what is known of it follows, and the log.</summary>
    private async LoopTask<int> FollowHeaderAsync()
    {
        try
        {
            _context.Header = await ImageOpener.ReadHeaderAsync(File);
        }
        catch (Exception error) when (error is ImageFormatException or System.IO.IOException)
        {
            // Nobody else writes it, so the file does not keep what was written: nothing more goes there.
            return _context.Corrupt($"its header cannot be read back: {error.Message}");
        }

        if (_context.Log is { } log)
        {
            log.Follow(LogIdentities.Of(File, Header));
            log.Begin(_map.Tables.L1);
        }

        return 0;
    }
}
