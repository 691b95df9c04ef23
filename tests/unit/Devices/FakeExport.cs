using System;
using System.Text.Json;
using Qcow2Blk.Exports;
using Qcow2Blk.Exports.Traffic;

namespace Qcow2Blk.Tests.Devices;

/// <summary>A block device without a kernel: what is asked of it is noted, and answered as a test says.</summary>
internal sealed class FakeExport : IExport
{
    private long _heldSince;

    public string Transport => "fake";

    public string? Uri => null;

    public string? DevicePath { get; init; } = "/dev/nbd1048575";

    public int Connections => 0;

    public (int Active, int Parked, int Limited) InFlight => default;

    /// <summary>Whether new requests wait.</summary>
    internal bool Held { get; private set; }

    /// <summary>Whether requests in progress do not end.</summary>
    internal bool Stuck { get; set; }

    internal string? User { get; set; }

    /// <summary>What a hand-over does, and how it ends.</summary>
    internal Func<int> OnHandOver { get; set; } = () => 0;

    internal Func<int> OnStop { get; set; } = () => 0;

    internal bool Disposed { get; private set; }

    public IoStatistics Statistics() => new();

    /// <summary>How long requests waited the last time.</summary>
    internal TimeSpan LastPause { get; private set; }

    public void Hold(Action drained)
    {
        Held = true;
        _heldSince = System.Diagnostics.Stopwatch.GetTimestamp();
        if (!Stuck)
            drained();
    }

    public void Release()
    {
        if (Held)
            LastPause = System.Diagnostics.Stopwatch.GetElapsedTime(_heldSince);
        Held = false;
    }

    /// <summary>What every request gets; 0 if they are served.</summary>
    internal int Refusal { get; private set; }

    public void Refuse(int error) => Refusal = error;

    public string? Resize(long size) => null;

    public string? FindUser() => User;

    public int Stop(bool force, TimeSpan timeout) => OnStop();

    public int HandOver(TimeSpan timeout, System.Collections.Generic.ICollection<int> kept) => OnHandOver();

    public void WriteStatus(Utf8JsonWriter writer)
    {
        // Nothing of its own.
    }

    public void Dispose() => Disposed = true;
}
