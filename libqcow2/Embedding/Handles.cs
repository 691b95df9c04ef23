using System.Collections.Generic;
using System.Threading;

namespace Qcow2Blk.Embedding;

/// <summary>
/// Numbers that stand for objects where programs of other languages hold them. A number that was never given out, whose
/// object is closed, or that stands for another kind of object leads to nothing.
/// </summary>
/// <remarks>
/// A number is odd, so that it is never taken for an address of ours, and holds a place and how often the place was given
/// out. Looking up takes no lock: an entry is never changed, only replaced.
/// </remarks>
internal sealed class Handles
{
    private const int PlaceBits = 20;

    private readonly Lock _changing = new();
    private readonly Stack<int> _free = new();
    private Entry?[] _entries = new Entry?[16];
    private ulong _given;
    private int _used;

    private sealed record Entry(ulong Number, object Value);

    /// <returns>a number that was never given out before; 0 if there are too many</returns>
    public nint Add(object value)
    {
        lock (_changing)
        {
            if (!_free.TryPop(out var place))
            {
                if (_used == 1 << PlaceBits)
                    return 0;
                place = _used++;
            }

            if (place == _entries.Length)
                Grow();
            var number = (++_given << (PlaceBits + 1)) | ((uint)place << 1) | 1;
            Volatile.Write(ref _entries[place], new Entry(number, value));
            return (nint)number;
        }
    }

    /// <returns>null if the number does not stand for a <typeparamref name="T"/></returns>
    public T? Find<T>(nint handle)
        where T : class => EntryOf(handle)?.Value as T;

    /// <summary>From now on the number stands for nothing. Of several who try only one gets the object.</summary>
    public T? Remove<T>(nint handle)
        where T : class
    {
        lock (_changing)
        {
            if (EntryOf(handle)?.Value is not T value)
                return null;
            var place = PlaceOf(handle);
            Volatile.Write(ref _entries[place], null);
            _free.Push(place);
            return value;
        }
    }

    private static int PlaceOf(nint handle) => (int)((ulong)handle >> 1) & ((1 << PlaceBits) - 1);

    private Entry? EntryOf(nint handle)
    {
        var entries = Volatile.Read(ref _entries);
        var place = PlaceOf(handle);
        return place < entries.Length && Volatile.Read(ref entries[place]) is { } entry && entry.Number == (ulong)handle ? entry : null;
    }

    private void Grow()
    {
        var larger = new Entry?[_entries.Length * 2];
        _entries.CopyTo(larger, 0);
        Volatile.Write(ref _entries, larger);
    }
}
