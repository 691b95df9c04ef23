using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading.Tasks;
using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Devices.Control;

/// <summary>
/// An edit of several devices at one instant: the requests of all wait, then each is edited, then all go on. It is done on all or, if one
/// fails, undone on the others.
/// </summary>
/// <param name="clients">one for each device</param>
/// <param name="edit">what to do</param>
/// <param name="undo">takes it back</param>
/// <param name="timeout">how long requests in flight may take</param>
internal sealed class JointEdit(IReadOnlyList<ControlClient> clients, ImageEdit edit, ImageEdit undo, TimeSpan timeout)
{
    /// <returns>how it went on each; if one failed, it is done on none, but for those whose outcome says so in its note</returns>
    public async Task<IReadOnlyList<Outcome>> RunAsync()
    {
        var outcomes = await OnAllAsync(client => Ask(client, Request(ControlVerb.Hold)));
        if (!outcomes.All(outcome => outcome.Succeeded))
        {
            // Whoever holds requests lets them go on when it is asked to, or when the connection ends.
            await OnAllAsync(client => Ask(client, Request(ControlVerb.Release)));
            return outcomes;
        }

        outcomes = await OnAllAsync(client => Ask(client, Request(ControlVerb.Edit, edit)));
        var released = await OnAllAsync(client => Ask(client, Request(ControlVerb.Release)));

        // One whose requests went on before all were edited may be of another instant.
        for (var i = 0; i < outcomes.Length; i++)
            outcomes[i] = (outcomes[i].Succeeded, released[i].Succeeded) == (true, false) ? await UndoAsync(i, released[i]) : outcomes[i];
        if (outcomes.All(outcome => outcome.Succeeded))
            return outcomes;
        for (var i = 0; i < outcomes.Length; i++)
            outcomes[i] = outcomes[i].Succeeded ? await UndoAsync(i, outcomes.First(outcome => !outcome.Succeeded)) : outcomes[i];
        return outcomes;
    }

    private async Task<Outcome> UndoAsync(int index, Outcome because)
    {
        var undone = await Task.Run(() => Ask(clients[index], Request(ControlVerb.Edit, undo)));
        return undone.Succeeded ? because : because with { Note = $"and it could not be undone: {undone.Why}" };
    }

    private ControlRequest Request(ControlVerb verb, ImageEdit? what = null) =>
        new(verb, timeout, Force: false, AllowShrink: false, Options: what?.Arguments, Edit: what?.Name);

    private async Task<Outcome[]> OnAllAsync(Func<ControlClient, Outcome> act) =>
        await Task.WhenAll(clients.Select(client => Task.Run(() => act(client))));

    private static Outcome Ask(ControlClient client, ControlRequest request)
    {
        try
        {
            return client.Ask(request).Result;
        }
        catch (OutcomeException lost)
        {
            return Outcome.Refused(lost.Kind, lost.What, lost.Why, lost.Hint);
        }
    }
}
