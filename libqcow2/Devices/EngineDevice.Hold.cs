using System;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Image.Opening;

namespace Qcow2Blk.Devices;

/// <summary>Edits of several devices at one instant: the requests of all wait, then each is edited, then they go on.</summary>
internal sealed partial class EngineDevice
{
    private bool _editHangs;

    public async Task<Outcome> HoldAsync(TimeSpan timeout, CancellationToken cut)
    {
        var what = $"cannot hold the requests of {Name}";
        if (RefuseEdit(what, writes: true) is { } refused)
            return refused;
        if (_disk is not Qcow2Image)
            return Outcome.Refused(OutcomeKind.Failed, what, "its image is raw: only qcow2 images have that");

        // What can be long comes first, while requests go on.
        if (await OnHomeAsync(_disk!.FlushAsync, timeout, cut) is not { } flushed)
            return NoAnswer(what);
        if (flushed < 0)
            return FlushFailed(what, flushed);
        _editHangs = false;
        if (await HoldRequestsAsync(timeout, cut))
            return Outcome.Done();
        Export.Release();
        return TooLate(what, timeout, "try a longer --timeout");
    }

    public async Task<Outcome> EditHeldAsync(ImageEdit edit, CancellationToken cut)
    {
        var kind = ImageEdits.KindOf(edit);
        var what = $"{kind.What(edit)} {Name}";
        if (kind.Reopens || _editHangs)
            return Outcome.Refused(OutcomeKind.Invalid, what, _editHangs ? "another edit is still running" : "it closes the image");
        if (await RunEditAsync(what, () => ImageEdits.RunAsync(edit, _disk!), s_closeTimeout, cut) is { } outcome)
            return outcome;

        // Its requests wait until it ends.
        _editHangs = true;
        return NoAnswer(what);
    }

    public void ReleaseHold()
    {
        if (!_editHangs)
            Export.Release();
    }
}
