using System.Collections.Generic;

namespace Qcow2Blk.Remote.Bases;

/// <summary>
/// Chunks that are to be fetched ahead, in order, each once. They are a hint: what there is no room for is left out.
/// </summary>
internal sealed class AheadQueue
{
    /// <summary>As many as a trace may name. A source that is away keeps them waiting for as long as it is.</summary>
    public const int Most = BootTrace.MaxEntries;

    private readonly Queue<long> _order = new();
    private readonly Dictionary<long, bool> _pins = [];

    public int Count => _order.Count;

    /// <param name="chunk">its number</param>
    /// <param name="pin">whether the cache is to keep it when room is needed: that holds if anybody says so</param>
    public void Add(long chunk, bool pin)
    {
        if (_pins.TryGetValue(chunk, out var before))
        {
            _pins[chunk] = before | pin;
            return;
        }

        if (_order.Count >= Most)
            return;
        _order.Enqueue(chunk);
        _pins.Add(chunk, pin);
    }

    public bool TryTake(out long chunk, out bool pin)
    {
        pin = false;
        return _order.TryDequeue(out chunk) && _pins.Remove(chunk, out pin);
    }

    public void Clear()
    {
        _order.Clear();
        _pins.Clear();
    }
}
