using System.Collections.Generic;
using System.Net.Sockets;
using System.Text.Json;
using System.Threading.Tasks;
using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Devices.Control;

/// <summary>Connections that hold the requests of the device: until they say otherwise, end, or have done so for too long.</summary>
internal sealed partial class ControlServer
{
    /// <returns>whether the connection goes on</returns>
    private async Task<bool> AnswerHoldAsync(Socket connection, LineBuffer buffer, ControlRequest request)
    {
        var held = new HeldRequests();
        var hold = _hold(request, held);
        if (await Task.WhenAny(hold, held.Begun) == hold)
            return await TrySayAsync(connection, await hold);
        try
        {
            if (!await TrySayAsync(connection, Outcome.Done()))
                return false;
            while (await NextAsync(connection, buffer) is { } next)
            {
                if (next.Verb == ControlVerb.Release)
                {
                    held.Release();
                    return await TrySayAsync(connection, await hold);
                }

                var answer = next.Verb == ControlVerb.Edit
                    ? await held.AskAsync(new ImageEdit(next.Edit ?? "", next.Options ?? new Dictionary<string, string>()))
                    : Outcome.Refused(OutcomeKind.Invalid, "cannot do that", "a connection that holds requests takes edits and release");
                if (!await TrySayAsync(connection, answer))
                    return false;
            }

            return false;
        }
        finally
        {
            held.Release();
            await ((Task)hold).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <returns>null at the end, or if what came is no request: then requests must not wait for another</returns>
    private async Task<ControlRequest?> NextAsync(Socket connection, LineBuffer buffer)
    {
        try
        {
            return await FillAsync(connection, buffer) && !buffer.IsTooLong ? ControlRequest.Parse(buffer.Take()!) : null;
        }
        catch (System.Exception error) when (error is JsonException or System.FormatException or System.InvalidOperationException
            || IsEnd(error))
        {
            return null;
        }
    }

    private Task<bool> TrySayAsync(Socket connection, Outcome outcome) =>
        TryReplyAsync(connection, ControlReply.ToLine(outcome, _device, false), []);
}
