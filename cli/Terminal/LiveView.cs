using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Diagnostics.CodeAnalysis;
using System.Linq;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using System.Threading;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Cli.Terminal;

/// <summary>
/// A page that is drawn again whenever something has changed, until the user quits. One thread draws and hears keys; another one
/// looks at the devices, which may take its time.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "its threads use what it owns until the process ends, which is when it ends")]
internal abstract class LiveView(TimeSpan interval)
{
    private readonly BlockingCollection<Action> _inbox = [];
    private readonly AutoResetEvent _lookNow = new(false);
    private long _interval = interval.Ticks;
    private volatile bool _isPaused;

    protected TimeSpan Interval
    {
        get => TimeSpan.FromTicks(Interlocked.Read(ref _interval));
        set => Interlocked.Exchange(ref _interval, value.Ticks);
    }

    protected bool IsPaused
    {
        get => _isPaused;
        set => _isPaused = value;
    }

    /// <summary>How many lines are scrolled away.</summary>
    protected int Scrolled { get; set; }

    /// <summary>Whether to quit.</summary>
    protected bool IsDone { get; set; }

    /// <summary>Looks at the devices. Not on the thread of the others.</summary>
    /// <returns>takes over what was seen</returns>
    protected abstract Action Look();

    /// <summary>The page.</summary>
    protected abstract IReadOnlyList<string> Lines(int columns, int rows);

    /// <summary>A key that does not do the same in all views.</summary>
    protected abstract void On(Key key);

    /// <summary>Runs until the user quits, or a signal ends the command. The terminal is then as it was.</summary>
    /// <param name="otherwise">what to do without a terminal</param>
    internal ExitCode Run(string otherwise)
    {
        using var screen = Screen.Open(otherwise);
        PosixSignalRegistration[] signals =
        [
            On(PosixSignal.SIGTERM, Quit), On(PosixSignal.SIGINT, Quit), On(PosixSignal.SIGHUP, Quit), On(PosixSignal.SIGQUIT, Quit),
            On(PosixSignal.SIGWINCH, () => { }), On(PosixSignal.SIGTSTP, () => Stop(screen)),
            // Stopped by a signal that cannot be caught: somebody else had the terminal since.
            On(PosixSignal.SIGCONT, screen.Begin),
        ];
        try
        {
            Start("qcow2blk-keys", () => ReadKeys(screen));
            Start("qcow2blk-look", LookAgain);
            while (!IsDone)
            {
                _inbox.Take()();
                if (IsDone || !Show())
                    break;
            }
        }
        finally
        {
            screen.End();
            Array.ForEach(signals, signal => signal.Dispose());
        }

        return ExitCode.Done;
    }

    /// <summary>Looks without waiting for the interval to end.</summary>
    protected void LookNow() => _lookNow.Set();

    /// <summary>Scrolls if the key says so.</summary>
    protected bool Scrolls(Key key, int lines, int rows)
    {
        var last = Math.Max(0, lines - rows);
        int? to = key.Name switch
        {
            KeyName.Up => Scrolled - 1,
            KeyName.Down => Scrolled + 1,
            KeyName.PageUp => Scrolled - rows,
            KeyName.PageDown => Scrolled + rows,
            KeyName.Home => 0,
            KeyName.End => last,
            _ => null,
        };
        if (to is { } line)
            Scrolled = Math.Clamp(line, 0, last);
        return to is not null;
    }

    private bool Show()
    {
        // What else has happened meanwhile is shown by the same page.
        while (_inbox.TryTake(out var next))
        {
            next();
            if (IsDone)
                return true;
        }

        (var columns, var rows) = Screen.Size;
        return Screen.Draw([.. Lines(columns, rows).Take(rows)]);
    }

    private void Press(Screen screen, Key key)
    {
        switch (key.Character)
        {
            case 'q' or 'Q' or Key.CtrlC:
                IsDone = true;
                break;
            case Key.CtrlZ:
                Stop(screen);
                break;
            case ' ':
                IsPaused = !IsPaused;
                break;
            case '\r' or Key.CtrlL:
                LookNow();
                break;
            default:
                On(key);
                break;
        }
    }

    private void Quit() => IsDone = true;

    private static void Stop(Screen screen)
    {
        screen.End();
        Signals.StopSelf();
        screen.Begin();
    }

    private PosixSignalRegistration On(PosixSignal signal, Action action) => PosixSignalRegistration.Create(signal, context =>
    {
        // The default of the one that continues is wanted, and has happened.
        context.Cancel = signal != PosixSignal.SIGCONT;
        _inbox.Add(action);
    });

    private void ReadKeys(Screen screen)
    {
        var bytes = new byte[64];
        while (true)
        {
            var count = Unistd.Read(0, bytes);
            if (count <= 0)
            {
                _inbox.Add(Quit); // The terminal has gone.
                return;
            }

            foreach (var key in Key.Of(bytes.AsSpan(0, count).ToArray()))
                _inbox.Add(() => Press(screen, key));
        }
    }

    private void LookAgain()
    {
        while (true)
        {
            var started = Environment.TickCount64;
            try
            {
                if (!IsPaused)
                    _inbox.Add(Look());
            }
            catch (Exception error)
            {
                // The thread of the view tells it, once the terminal is as it was.
                var thrown = ExceptionDispatchInfo.Capture(error);
                _inbox.Add(thrown.Throw);
                return;
            }

            var left = Interval - TimeSpan.FromMilliseconds(Environment.TickCount64 - started);
            _lookNow.WaitOne(left > TimeSpan.Zero ? left : TimeSpan.Zero);
        }
    }

    private static void Start(string name, Action body) =>
        new Thread(() => body()) { IsBackground = true, Name = name }.Start();
}
