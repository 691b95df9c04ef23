using System;
using Qcow2Blk.Format;

namespace Qcow2Blk.Image.Map;

/// <summary>
/// What a walk down a backing chain has learnt of the layers above: how far each of them is known to hold nothing. The next
/// piece of the same range starts from there, so that a layer's entries are looked at once a walk, however many pieces the
/// layers below break it into. Pooled per thread; belongs to one request.
/// </summary>
internal sealed class ChainWalk
{
    [ThreadStatic]
    private static ChainWalk? s_free;

    private ChainWalk? _next;

    // Guest offsets, the top first. A request only moves forward.
    private GuestOffset[] _emptyTo = [];

    private ChainWalk()
    {
    }

    /// <param name="layers">qcow2 images of the chain</param>
    public static ChainWalk Rent(int layers)
    {
        var walk = s_free ?? new ChainWalk();
        s_free = walk._next;
        walk._next = null;
        if (walk._emptyTo.Length < layers)
            walk._emptyTo = new GuestOffset[layers];
        walk._emptyTo.AsSpan(0, layers).Clear();
        return walk;
    }

    public void Return()
    {
        _next = s_free;
        s_free = this;
    }

    /// <summary>Bytes from <paramref name="offset"/> on of which the layer is known to hold nothing; 0 or less: not known.</summary>
    public long KnownEmpty(int layer, GuestOffset offset) => _emptyTo[layer] - offset;

    /// <summary>The layer holds nothing up to there.</summary>
    public void NoteEmpty(int layer, GuestOffset end) => _emptyTo[layer] = end;
}
