using System;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Buffers;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Embedding.Devices;

/// <summary>
/// A device that this process serves. Whoever ends it, a handle or another process by the control socket, everything of it is
/// removed at once; no thread waits for that until then.
/// </summary>
internal sealed class ServedHere
{
    private readonly DeviceServer _server;
    private readonly SecretMemory? _key;
    private readonly ILog _log;
    private readonly Task<Outcome> _ending;

    /// <param name="server">of the device</param>
    /// <param name="key">of an encrypted image; belongs to it from now on</param>
    /// <param name="log">told of the end</param>
    public ServedHere(DeviceServer server, SecretMemory? key, ILog log)
    {
        _server = server;
        _key = key;
        _log = log;
        _ending = EndAsync();
    }

    /// <summary>Detaches it if nobody did yet, by force if that does not work in time, and waits until nothing of it is left.</summary>
    /// <returns>how it went: what is not done means that data may be lost</returns>
    public Outcome End()
    {
        _server.RequestEnd();
        return _ending.GetAwaiter().GetResult();
    }

    private async Task<Outcome> EndAsync()
    {
        await _server.Ended;
        // It waits for connections and loops to end, which may need the pool.
        return await Task.Factory.StartNew(
            Finish, CancellationToken.None, TaskCreationOptions.DenyChildAttach | TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    private Outcome Finish()
    {
        var name = _server.Record.Name;
        try
        {
            return _server.Finish();
        }
        catch (Exception error)
        {
            var refusal = Refusals.From(error, $"cannot detach {name}");
            return Outcome.Refused(refusal.Kind, refusal.What, refusal.Why, refusal.Hint) with { Error = ErrorNumbers.Of(refusal) };
        }
        finally
        {
            _log.Info($"detached {name}");
            _server.Dispose();
            _key?.Dispose();
        }
    }
}
