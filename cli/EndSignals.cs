using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;

namespace Qcow2Blk.Cli;

/// <summary>Signals that end a server cleanly.</summary>
internal sealed class EndSignals : IDisposable
{
    private readonly List<PosixSignalRegistration> _registrations = [];

    /// <summary>SIGTERM ends it; SIGINT and SIGHUP are meant for a terminal that it left.</summary>
    internal static IDisposable WatchInBackground(Action end)
    {
        var signals = new EndSignals();
        signals.On(PosixSignal.SIGTERM, end);
        signals.On(PosixSignal.SIGINT, null);
        signals.On(PosixSignal.SIGHUP, null);
        return signals;
    }

    /// <summary>Ctrl-C, a closed terminal and SIGTERM end it.</summary>
    internal static IDisposable WatchInForeground(Action end)
    {
        var signals = new EndSignals();
        signals.On(PosixSignal.SIGTERM, end);
        signals.On(PosixSignal.SIGINT, end);
        signals.On(PosixSignal.SIGHUP, end);
        return signals;
    }

    public void Dispose() => _registrations.ForEach(registration => registration.Dispose());

    private void On(PosixSignal signal, Action? action) =>
        _registrations.Add(PosixSignalRegistration.Create(signal, context =>
        {
            context.Cancel = true;
            action?.Invoke();
        }));
}
