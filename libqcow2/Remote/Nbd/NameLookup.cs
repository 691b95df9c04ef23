using System;
using System.Net;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Logging;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Remote.Nbd;

/// <summary>
/// The addresses of a host. The system's resolver makes its caller wait, for as long as it likes: another thread asks it, and what
/// comes too late, or after the loop has ended, is dropped.
/// </summary>
internal sealed class NameLookup
{
    private readonly Lock _gate = new();
    private readonly LoopScheduler _loop;
    private ManualSource<int>? _waiter;
    private bool _isOver;

    private NameLookup(LoopScheduler loop) => _loop = loop;

    /// <summary>What was found; empty if nothing was.</summary>
    public IPAddress[] Addresses { get; private set; } = [];

    /// <summary>Why nothing was found.</summary>
    public string? Why { get; private set; }

    /// <summary>Begins a lookup; on the loop.</summary>
    public static NameLookup Start(LoopScheduler loop, string host)
    {
        var lookup = new NameLookup(loop);
        if (IPAddress.TryParse(host, out var address))
        {
            lookup.Addresses = [address];
            lookup._isOver = true;
        }
        else
        {
            _ = lookup.AskAsync(host);
        }

        return lookup;
    }

    /// <summary>Waits for the end, up to a time.</summary>
    public LoopTask<int> WaitAsync(int milliseconds)
    {
        if (_isOver)
            return new LoopTask<int>(0);
        _waiter = ManualSource<int>.Rent();
        var task = _waiter.Task;
        GiveUpAfterAsync(milliseconds).Forget();
        return task;
    }

    /// <summary>Stops waiting; on the loop. Nothing is posted to it afterwards.</summary>
    public void GiveUp(string why) => Finish([], why);

    private async LoopTask<int> GiveUpAfterAsync(int milliseconds)
    {
        await _loop.DelayAsync(milliseconds);
        GiveUp("no name server answers");
        return 0;
    }

    private async Task AskAsync(string host)
    {
        IPAddress[] found = [];
        string? why = null;
        try
        {
            found = await Dns.GetHostAddressesAsync(host).ConfigureAwait(false);
        }
        catch (Exception error) when (error is SocketException or ArgumentException)
        {
            why = HouseStyle.Of(error.Message);
        }

        lock (_gate)
        {
            if (!_isOver)
                _loop.PostFromAnyThread(() => Finish(found, why));
        }
    }

    private void Finish(IPAddress[] found, string? why)
    {
        lock (_gate)
        {
            if (_isOver)
                return;
            _isOver = true;
        }

        (Addresses, Why) = (found, found.Length == 0 ? why ?? "it has no address" : null);
        var waiter = _waiter;
        _waiter = null;
        waiter?.SetResult(0);
    }
}
