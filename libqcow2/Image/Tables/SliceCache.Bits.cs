using System.Threading;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Tables;

/// <summary>Changes of many entries that are in the file, or will be, without the cache writing them.</summary>
internal sealed unsafe partial class SliceCache
{
    /// <summary>
    /// Takes bits from words of a slice, in memory alone: whoever reads it from the file takes them away, too. Readers of other threads
    /// see a word with or without them.
    /// </summary>
    /// <param name="slot">of a slice that is clean</param>
    /// <param name="bits">as they are on disk (big endian)</param>
    /// <param name="step">1 for every word, 2 for the first one of each pair</param>
    public void TakeBits(int slot, ulong bits, int step)
    {
        Invariant.Holds((_states[slot] & SlotState.Dirty) == 0, "only what is written through the log is written to the file", slot);
        var words = (ulong*)(_data + ((long)slot * SliceBytes));
        for (var index = 0; index < SliceBytes / sizeof(ulong); index += step)
        {
            if ((words[index] & bits) != 0)
                Volatile.Write(ref words[index], words[index] & ~bits);
        }
    }

    /// <summary>As the other, of every slice that is loaded.</summary>
    public void TakeBits(ulong bits, int step)
    {
        for (var slot = 0; slot < Capacity; slot++)
        {
            if (_keys[slot] != NoKey)
                TakeBits(slot, bits, step);
        }
    }
}
