using System;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Opening;

/// <summary>Operations on the image itself, while it is open and nobody uses the disk.</summary>
internal sealed partial class Qcow2Image
{
    /// <summary>
    /// Runs an operation that changes more than the mapping: header, snapshots, bitmaps. The caller has shut its gates and
    /// waited for its requests; nothing of the disk is in progress until this ends.
    /// </summary>
    /// <remarks>
    /// Before it begins, everything is committed, so the file says all that is known, and the recovery log is empty. Afterwards it is
    /// committed again, and the log is that of the image as it is now: a log that belongs to the header of before is never replayed.
    /// </remarks>
    public async LoopTask<EditAnswer> EditAsync(Func<LoopTask<EditAnswer>> edit)
    {
        if (_closed)
            return EditAnswer.OfErrno(-Errno.ESHUTDOWN, "it is closed");
        if (ReadOnly)
            return EditAnswer.Refused(EditResult.Failed, "it is open read-only");
        if (_context.WriteErrorReason is { } reason)
            return EditAnswer.Refused(EditResult.Failed, $"it takes no more writes: {reason}");
        await _changes.WaitForEndAsync();
        await Epochs.WaitForQuietAsync();
        var error = await PrepareForWritingAsync();
        if (error == 0)
            error = await CommitAllAsync();
        if (error == 0)
            error = await StoreBitmapsAsync();
        if (error < 0)
            return EditAnswer.OfErrno(error, "cannot write out what is in memory");
        // Who writes next says so again.
        _writePrepared = false;
        var answer = await TryEditAsync(edit);
        error = await CommitAllAsync();
        if (error == 0)
            error = await FollowHeaderAsync();
        if (error == 0)
            error = await ReloadBitmapsAsync();
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

    /// <summary>Commits until nothing is left: what a commit frees needs one more for the lower refcounts.</summary>
    private async LoopTask<int> CommitAllAsync()
    {
        do
        {
            var error = await _committer!.FlushAsync();
            await _frees!.DrainAsync();
            if (error < 0)
                return error;
        }
        while (!_committer.IsClean || !_frees.IsEmpty);
        return _context.WriteError;
    }

    /// <summary>The header may be another one now: what is known of it follows, and the log.</summary>
    private async LoopTask<int> FollowHeaderAsync()
    {
        try
        {
            _context.Header = await ReadHeaderAsync(_file);
        }
        catch (Exception error) when (error is ImageFormatException or System.IO.IOException)
        {
            // Nobody else writes it, so the file does not keep what was written: nothing more goes there.
            return _context.Corrupt($"its header cannot be read back: {error.Message}");
        }

        _log?.Follow(LoggedImageOf(_file, Header));
        return 0;
    }
}
