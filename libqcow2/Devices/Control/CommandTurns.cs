using System;
using System.Threading;
using System.Threading.Tasks;
using DotNext.Threading;
using Qcow2Blk.Devices.Outcomes;
using Lock = System.Threading.Lock;

namespace Qcow2Blk.Devices.Control;

/// <summary>
/// Commands on one device: one at a time, in the order in which they came. One that takes the disk away waits behind none: the
/// one that runs is cut short, and those that wait are refused.
/// </summary>
internal sealed class CommandTurns : IDisposable
{
    private readonly AsyncExclusiveLock _turn = new();
    private readonly Lock _lock = new();
    private CancellationTokenSource? _running;
    private int _urgent;

    /// <param name="what">what cannot be done if it is refused</param>
    /// <param name="timeout">how long the commands before it may take</param>
    /// <param name="command">gets what cuts it short: it then undoes what it can, and fails</param>
    public async Task<Outcome> RunAsync(string what, TimeSpan timeout, Func<CancellationToken, Task<Outcome>> command)
    {
        try
        {
            if (!await _turn.TryAcquireAsync(timeout))
                return Behind(what);
        }
        catch (Exception error) when (error is OperationCanceledException or PendingTaskInterruptedException)
        {
            return CutShort(what);
        }

        try
        {
            if (Begin() is not { } cut)
                return CutShort(what);
            var result = await command(cut.Token);
            return result.Succeeded || !cut.IsCancellationRequested ? result : CutShort(what);
        }
        finally
        {
            End();
        }
    }

    /// <summary>As the other, before all that wait, and instead of the one that runs. Nothing cuts it short.</summary>
    public async Task<Outcome> RunFirstAsync(string what, TimeSpan timeout, Func<Task<Outcome>> command)
    {
        Hurry();
        try
        {
            if (!await _turn.TryStealAsync(what, timeout))
                return Behind(what);
        }
        catch (Exception error) when (error is OperationCanceledException or PendingTaskInterruptedException)
        {
            return CutShort(what);
        }
        finally
        {
            lock (_lock)
                _urgent--;
        }

        try
        {
            return await command();
        }
        finally
        {
            End();
        }
    }

    /// <summary>No command begins any more, and the one that runs is cut short.</summary>
    public void Dispose()
    {
        Hurry();
        _turn.CancelSuspendedCallers(new CancellationToken(canceled: true));
    }

    /// <returns>null if somebody is in a hurry: the turn came from the command that was cut short for that one</returns>
    private CancellationTokenSource? Begin()
    {
        lock (_lock)
            return _running = _urgent > 0 ? null : new CancellationTokenSource();
    }

    private void End()
    {
        lock (_lock)
            _running = null;
        _turn.Release();
    }

    /// <summary>From another thread than ours: what the command does next must not delay who is in a hurry.</summary>
    private void Hurry()
    {
        lock (_lock)
        {
            _urgent++;
            _ = _running?.CancelAsync();
        }
    }

    private static Outcome Behind(string what) => Outcome.Refused(OutcomeKind.Failed, what, "another command on it is still running");

    private static Outcome CutShort(string what) => Outcome.Refused(OutcomeKind.Failed, what, "it is already ending");
}
