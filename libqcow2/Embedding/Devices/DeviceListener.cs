using System;
using System.Threading;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;

namespace Qcow2Blk.Embedding.Devices;

/// <summary>
/// Watches one device for a program, on a thread of its own: the program may take its time with each event. While nothing happens
/// the thread sleeps; where a server died, until the runtime directory shows another.
/// </summary>
internal sealed class DeviceListener : IDisposable
{
    /// <summary>A server that is starting, or ending, is looked at so often.</summary>
    private const int StartingMilliseconds = 100;

    /// <summary>A server that closed the connection, or refuses to be watched, is left alone for so long.</summary>
    private const int PauseMilliseconds = 1000;

    /// <summary>A server that does not tell its state within this time tells it later.</summary>
    private const int StartMilliseconds = 5000;

    private readonly DeviceIdentity _device;
    private readonly Action<DeviceEvent> _handler;
    private readonly Alarm _alarm = new();
    private readonly ManualResetEventSlim _hasAsked = new();
    private readonly Thread _thread;
    private EmbeddedState _state = EmbeddedState.Running;
    private int _server;
    private bool _isLost;
    private string? _refusal;

    /// <param name="device">what to watch</param>
    /// <param name="handler">gets the events, one at a time, on the thread of the listener</param>
    public DeviceListener(DeviceIdentity device, Action<DeviceEvent> handler)
    {
        _device = device;
        _handler = handler;
        _thread = new Thread(Listen) { IsBackground = true, Name = "qcow2blk-events" };
    }

    /// <summary>Whether the calling thread is in the handler.</summary>
    public bool IsHandling => Thread.CurrentThread == _thread;

    /// <summary>
    /// From now on the handler is called; the first event tells the state at this time, so the server is asked for it before this
    /// returns.
    /// </summary>
    public void Start()
    {
        _thread.Start();
        _hasAsked.Wait(StartMilliseconds);
    }

    /// <summary>Once this returns the handler is not running, and is not called again. Not from the handler.</summary>
    public void Dispose()
    {
        _alarm.Raise();
        _thread.Join();
        _alarm.Dispose();
        _hasAsked.Dispose();
    }

    private void Listen()
    {
        try
        {
            Watch();
        }
        finally
        {
            _hasAsked.Set();
        }
    }

    private void Watch()
    {
        while (!_alarm.IsRaised)
        {
            // From before the look: what comes between the look and the wait must end the wait.
            using var changes = _isLost ? new DirectoryChanges(_device.Registry.Directory) : null;
            if (Find(out var isAlive) is not { } entry)
            {
                Tell(DeviceEventKind.State, EmbeddedState.Ended, 0, "");
                return;
            }

            using (var client = isAlive ? WatchClient.TryConnect(_device.Registry.Directory, _device.Name, _alarm) : null)
            {
                if (client is not null && Follow(client, entry.Record.Pid))
                    return;
                if (client is not null)
                    Pause(client, entry.Record.Pid);
                else
                    WaitForServer(entry, changes);
                _hasAsked.Set();
            }
        }
    }

    /// <returns>null if it has ended for good: detached, or dead without a successor</returns>
    private DeviceEntry? Find(out bool isAlive)
    {
        isAlive = false;
        try
        {
            if (_device.Find() is not { } entry)
                return null;
            isAlive = entry.Alive;
            if (isAlive || _device.WaitsForServer(entry))
                return entry;
            TellLoss();
        }
        catch (OutcomeException)
        {
            // The runtime directory is not ours any more, and nothing that could be found there.
        }

        return null;
    }

    /// <summary>Passes on what a server tells.</summary>
    /// <returns>whether that was all: the device has ended, or the listener is to stop</returns>
    private bool Follow(WatchClient client, int server)
    {
        var result = client.Begin();
        _hasAsked.Set();
        if (result == WatchResult.Event)
            TellServer(server);
        while (result == WatchResult.Event)
        {
            result = client.Next(out var what);
            if (result == WatchResult.Event && !Pass(what))
                return true;
        }

        return result == WatchResult.Stopped;
    }

    /// <returns>false after the last</returns>
    private bool Pass(WatchEvent what)
    {
        _refusal = null;
        var state = EmbeddedStates.Of(what.State);
        switch (what.Kind)
        {
            case WatchKind.State:
                Tell(DeviceEventKind.State, state, 0, what.Message);
                return true;
            case WatchKind.NoSpace:
                Tell(DeviceEventKind.NoSpace, state, what.Waiting, what.Message);
                return true;
            case WatchKind.Error:
                Tell(DeviceEventKind.Error, state, 0, what.Message);
                return true;
            case WatchKind.Corrupt:
                Tell(DeviceEventKind.Corrupt, state, 0, what.Message);
                return true;
            default:
                Tell(DeviceEventKind.State, EmbeddedState.Ended, 0, what.Message);
                return false;
        }
    }

    /// <summary>The connection was lost, or refused. If the server is still there it is asked again in a while.</summary>
    private void Pause(WatchClient client, int server)
    {
        if (client.Refusal is { } refusal && refusal != _refusal)
            Tell(DeviceEventKind.Error, _state, 0, refusal);
        _refusal = client.Refusal;
        if (client.Refusal is null && ProcessIdentity.Of(server) is null)
            TellLoss();
        else
            _alarm.Wait(-1, client.Refusal is null ? StartingMilliseconds : PauseMilliseconds);
    }

    private void WaitForServer(DeviceEntry entry, DirectoryChanges? changes)
    {
        if (entry.Record.Suspended)
            _state = EmbeddedState.Suspended;
        TellLoss();
        // Else it is looked for once more with an eye on the directory, before the wait.
        if (changes is not null)
            _alarm.Wait(changes.Descriptor, entry.Alive ? StartingMilliseconds : changes.Descriptor < 0 ? PauseMilliseconds : -1);
    }

    private void TellLoss()
    {
        if (_isLost)
            return;
        _isLost = true;
        _server = 0;
        Tell(DeviceEventKind.Server, _state, 0, "");
    }

    private void TellServer(int server)
    {
        if (_server != 0 && _server != server)
            TellLoss();
        if (_isLost)
            Tell(DeviceEventKind.Server, _state, server, "");
        _isLost = false;
        _server = server;
    }

    private void Tell(DeviceEventKind kind, EmbeddedState state, int value, string message)
    {
        _state = state;
        if (!_alarm.IsRaised)
            _handler(new DeviceEvent(kind, state, value, message));
    }
}
