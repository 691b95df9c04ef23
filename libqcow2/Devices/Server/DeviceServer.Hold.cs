using System;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Devices.Server;

/// <summary>Requests that wait while a client does something with several devices at one instant.</summary>
internal sealed partial class DeviceServer
{
    /// <summary>How long requests wait for a client at most.</summary>
    private static readonly TimeSpan s_longestHold = TimeSpan.FromSeconds(5);

    /// <returns>done if the client let requests go on, within the time</returns>
    private Task<Outcome> HoldAsync(ControlRequest request, HeldRequests held)
    {
        var what = $"cannot hold the requests of {Record.Name}";
        return _turns.RunAsync(what, request.Timeout, async cut =>
        {
            if (_detached || HandedOver)
                return Outcome.Refused(OutcomeKind.Busy, what, "it is already ending");
            var shut = await _device.HoldAsync(request.Timeout, cut);
            if (!shut.Succeeded)
                return shut;
            using var patience = CancellationTokenSource.CreateLinkedTokenSource(cut);
            patience.CancelAfter(s_longestHold);
            held.Begin();
            try
            {
                while (await held.NextAsync(patience.Token) is { } asked)
                    asked.Answer.TrySetResult(await EditHeldAsync(asked, cut));
                return patience.IsCancellationRequested ? TooLong(what) : Outcome.Done();
            }
            catch (OperationCanceledException)
            {
                return TooLong(what);
            }
            finally
            {
                _device.ReleaseHold();
                held.Over();
            }
        });
    }

    private async Task<Outcome> EditHeldAsync(HeldRequests.Asked asked, CancellationToken cut)
    {
        try
        {
            return await _device.EditHeldAsync(asked.Edit, cut);
        }
        catch (OutcomeException refusal)
        {
            return Outcome.Refused(refusal.Kind, refusal.What, refusal.Why, refusal.Hint);
        }
    }

    private static Outcome TooLong(string what) =>
        Outcome.Refused(OutcomeKind.Failed, what, $"they were held for {s_longestHold.TotalSeconds} s and went on");
}
