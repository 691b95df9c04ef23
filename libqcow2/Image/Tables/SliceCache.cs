using System;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Threading;
using Qcow2Blk.Buffers;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Image.Tables;

/// <summary>
/// A set-associative cache of table slices (at most 4 KiB of an L2 table or refcount block) in native memory.
/// The home loop changes it; any thread may read single entries without a lock.
/// </summary>
/// <remarks>
/// Invariants: a slot whose key is not negative holds that slice completely; before a slot is given to another
/// slice its key becomes -1 and its generation is raised, so that a reader who saw the same generation before and
/// after the key and the entry has read that slice. Entries are aligned 64-bit words, or pairs of them: while a pair is being
/// changed the generation is odd, so that nobody sees half of it. Dirty slots and slots being written are never evicted. One
/// slot more, the spare one, belongs to no set: nobody finds what is in it but who filled it.
/// </remarks>
internal sealed unsafe class SliceCache : IDisposable
{
    private const int Ways = 8;
    private const long NoKey = -1;

    // What the generation of a slot goes up by: it stays even.
    private const uint GivenAway = 2;

    [Flags]
    private enum SlotState : byte
    {
        None = 0,
        Dirty = 1,
        Writing = 2,
        Loading = 4,
    }

    private readonly int _setMask;
    private readonly nint _memory;
    private readonly nuint _memoryLength;
    private readonly byte* _data;
    private readonly long[] _keys;
    private readonly uint[] _generations;
    private readonly long[] _pendingKeys;
    private readonly long[] _hostOffsets;
    private readonly uint[] _lastUse;
    private readonly SlotState[] _states;
    private readonly int[] _dirty;
    private readonly long[] _dirtyOffsets;
    private uint _clock;

    /// <param name="sliceBytes">bytes of one slice, a power of two</param>
    /// <param name="maximumBytes">cap of the cache</param>
    /// <param name="neededSlices">how many slices there can be at most; the cache is not made larger</param>
    /// <param name="resident">take all of the memory now, not as it is used</param>
    public SliceCache(int sliceBytes, long maximumBytes, long neededSlices, bool resident = false)
    {
        SliceBytes = sliceBytes;
        var wanted = Math.Clamp(Math.Min(maximumBytes / sliceBytes, neededSlices + Ways), Ways, 1 << 20);
        var sets = (int)BitOperations.RoundUpToPowerOf2((uint)((wanted + Ways - 1) / Ways));
        if ((long)sets * Ways * sliceBytes > maximumBytes && sets > 1)
            sets >>= 1;
        _setMask = sets - 1;
        Capacity = sets * Ways;
        var slots = Capacity + 1;
        _memoryLength = (nuint)((long)slots * sliceBytes);
        _memory = Files.Map(
            _memoryLength,
            PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS | (resident ? MAP_POPULATE : MAP_NORESERVE),
            -1,
            0);
        if (_memory == 0)
            throw new InsufficientMemoryException($"cannot map {_memoryLength} bytes for a table cache");
        _data = (byte*)_memory;
        _keys = new long[slots];
        _keys.AsSpan().Fill(NoKey);
        _pendingKeys = new long[slots];
        _hostOffsets = new long[Capacity];
        _generations = new uint[slots];
        _lastUse = new uint[Capacity];
        _states = new SlotState[slots];
        _dirty = new int[Capacity];
        _dirtyOffsets = new long[Capacity];
    }

    public int SliceBytes { get; }

    /// <summary>Slices the cache can hold, the spare slot left out.</summary>
    public int Capacity { get; }

    public int DirtyCount { get; private set; }

    /// <summary>Lookups of the home loop that found their slice, and those that had to read it.</summary>
    public long Hits { get; private set; }

    public long Misses { get; private set; }

    /// <summary>The slot of a loaded slice, or -1. Home loop.</summary>
    public int Find(long key)
    {
        var slot = Peek(key);
        if (slot >= 0)
        {
            _lastUse[slot] = ++_clock;
            Hits++;
        }

        return slot;
    }

    /// <summary>Reads one 64-bit entry as it is on disk (big endian). Any thread, no lock.</summary>
    public bool TryRead(long key, int index, out ulong raw)
    {
        var first = (int)(key & _setMask) * Ways;
        for (var slot = first; slot < first + Ways; slot++)
        {
            var generation = GenerationOf(slot);
            if (Volatile.Read(ref _keys[slot]) != key)
                continue;
            return TryReadHeld(slot, key, generation, index, out raw);
        }

        raw = 0;
        return false;
    }

    /// <summary>How often the slot was given to another slice. Any thread.</summary>
    internal uint GenerationOf(int slot) => Volatile.Read(ref _generations[slot]);

    /// <summary>
    /// Reads an entry of a slot that held slice <paramref name="key"/> in <paramref name="generation"/>; false if the slot was given
    /// away since, be it to the same slice again: the entry was read while others were brought in. Any thread.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal bool TryReadHeld(int slot, long key, uint generation, int index, out ulong raw)
    {
        raw = Volatile.Read(ref ((ulong*)(_data + ((long)slot * SliceBytes)))[index]);
        return Volatile.Read(ref _keys[slot]) == key && Volatile.Read(ref _generations[slot]) == generation;
    }

    /// <summary>Reads a pair of words, an entry of 128 bits, whole or not at all. Any thread, no lock.</summary>
    /// <param name="key">of the slice</param>
    /// <param name="index">of the pair in the slice</param>
    /// <param name="first">its first word as it is on disk (big endian)</param>
    /// <param name="second">its second word</param>
    /// <returns>false if the slice is not there, or the pair was just being changed</returns>
    public bool TryReadPair(long key, int index, out ulong first, out ulong second)
    {
        var start = (int)(key & _setMask) * Ways;
        for (var slot = start; slot < start + Ways; slot++)
        {
            var generation = GenerationOf(slot);
            if (Volatile.Read(ref _keys[slot]) != key)
                continue;
            var pair = (ulong*)(_data + ((long)slot * SliceBytes)) + (index * 2L);
            first = Volatile.Read(ref pair[0]);
            second = Volatile.Read(ref pair[1]);
            return (generation & 1) == 0 && Volatile.Read(ref _keys[slot]) == key && Volatile.Read(ref _generations[slot]) == generation;
        }

        (first, second) = (0, 0);
        return false;
    }

    /// <summary>Whether somebody is reading that slice right now.</summary>
    public bool IsLoading(long key)
    {
        var first = (int)(key & _setMask) * Ways;
        for (var slot = first; slot < first + Ways; slot++)
        {
            if ((_states[slot] & SlotState.Loading) != 0 && _pendingKeys[slot] == key)
                return true;
        }

        return IsSpareLoading && _pendingKeys[Capacity] == key;
    }

    private bool IsSpareLoading => (_states[Capacity] & SlotState.Loading) != 0;

    /// <summary>Whether some slot of the set that <paramref name="key"/> belongs to is being read.</summary>
    public bool IsSetLoading(long key)
    {
        var first = (int)(key & _setMask) * Ways;
        for (var slot = first; slot < first + Ways; slot++)
        {
            if ((_states[slot] & SlotState.Loading) != 0)
                return true;
        }

        return false;
    }

    /// <summary>Takes a slot for a slice that will be loaded; -1 when every slot of its set is dirty or busy.</summary>
    public int Claim(long key)
    {
        var first = (int)(key & _setMask) * Ways;
        var victim = -1;
        for (var slot = first; slot < first + Ways; slot++)
        {
            if (_states[slot] != SlotState.None)
                continue;
            if (_keys[slot] == NoKey)
            {
                victim = slot;
                break;
            }

            if (victim < 0 || _clock - _lastUse[slot] > _clock - _lastUse[victim])
                victim = slot;
        }

        return victim < 0 ? -1 : Take(victim, key);
    }

    /// <summary>
    /// Takes the spare slot for a slice that will be read, looked at and forgotten: nothing may be changed in it, and it is
    /// given back with <see cref="Abandon"/>. -1 when somebody is reading into it.
    /// </summary>
    public int ClaimSpare(long key) => IsSpareLoading ? -1 : Take(Capacity, key);

    private int Take(int victim, long key)
    {
        Invariant.Holds(key >= 0, "a slice that is loaded has a place in a table", key);
        Invariant.Holds(
            _states[victim] == SlotState.None, "a slice that is dirty, being written or being read is not evicted", victim, key);
        Misses++;
        Volatile.Write(ref _keys[victim], NoKey);
        Volatile.Write(ref _generations[victim], _generations[victim] + GivenAway);
        Interlocked.MemoryBarrier();
        _states[victim] = SlotState.Loading;
        _pendingKeys[victim] = key;
        return victim;
    }

    /// <summary>The claimed slot holds its slice now.</summary>
    public void Loaded(int slot, long hostOffset)
    {
        Invariant.Holds(
            _states[slot] == SlotState.Loading && slot < Capacity, "only a slot that was claimed is filled, and not the spare one", slot);
        Invariant.Holds(Peek(_pendingKeys[slot]) < 0, "a slice is in one slot only: of two, changes would be lost", _pendingKeys[slot]);
        Invariant.Holds(hostOffset > 0 && hostOffset % SliceBytes == 0, "a slice has a place of its own in the file", hostOffset);
        _states[slot] = SlotState.None;
        _hostOffsets[slot] = hostOffset;
        _lastUse[slot] = ++_clock;
        Volatile.Write(ref _keys[slot], _pendingKeys[slot]);
    }

    /// <summary>The claimed slot could not be filled, or holds what nobody else may find.</summary>
    public void Abandon(int slot)
    {
        Invariant.Holds(_states[slot] == SlotState.Loading, "only a slot that was claimed is given back", slot);
        _states[slot] = SlotState.None;
    }

    /// <summary>Whether the slot holds that slice now, so that what was seen in it before may be changed. Home loop.</summary>
    public bool HasSlice(int slot, long key) => _keys[slot] == key;

    /// <summary>As the other; the spare slot shows a slice that nobody may change.</summary>
    public bool Shows(int slot, long key) => (slot == Capacity ? _pendingKeys[slot] : _keys[slot]) == key;

    /// <summary>The slot of a loaded slice, or -1; nothing is counted, for who only checks. Home loop.</summary>
    public int Peek(long key)
    {
        var first = (int)(key & _setMask) * Ways;
        for (var slot = first; slot < first + Ways; slot++)
        {
            if (_keys[slot] == key)
                return slot;
        }

        return -1;
    }

    public NativeBuffer Buffer(int slot) => new(_memory + (nint)((long)slot * SliceBytes), SliceBytes);

    public Span<byte> Data(int slot) => Buffer(slot).Span;

    /// <summary>Reads a 64-bit entry of a loaded slot, as on disk.</summary>
    public ulong Read(int slot, int index) => ((ulong*)(_data + ((long)slot * SliceBytes)))[index];

    /// <summary>Changes a 64-bit entry in one store, visible to readers of other threads.</summary>
    public void Write(int slot, int index, ulong raw)
    {
        Invariant.Holds((uint)index < (uint)SliceBytes / sizeof(ulong), "an entry that is changed lies in its slice", index);
        Volatile.Write(ref ((ulong*)(_data + ((long)slot * SliceBytes)))[index], raw);
        MarkDirty(slot);
    }

    /// <summary>Changes a pair of words; readers of other threads see the old pair, the new one or none.</summary>
    public void WritePair(int slot, int index, ulong first, ulong second)
    {
        Invariant.Holds((uint)index < (uint)SliceBytes / (2 * sizeof(ulong)), "an entry that is changed lies in its slice", index);
        var pair = (ulong*)(_data + ((long)slot * SliceBytes)) + (index * 2L);

        // Each store is seen after those before it.
        Volatile.Write(ref _generations[slot], _generations[slot] + 1);
        Volatile.Write(ref pair[0], first);
        Volatile.Write(ref pair[1], second);
        Volatile.Write(ref _generations[slot], _generations[slot] + 1);
        MarkDirty(slot);
    }

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

    public void MarkDirty(int slot)
    {
        if ((_states[slot] & SlotState.Dirty) != 0)
            return;
        Invariant.Holds(slot < Capacity && (_states[slot] & SlotState.Loading) == 0, "only a slice that is loaded becomes dirty", slot);
        _states[slot] |= SlotState.Dirty;
        _dirty[DirtyCount++] = slot;
    }

    /// <summary>Tells a loaded slice that its table has moved.</summary>
    public void Move(long key, long hostOffset)
    {
        var slot = Find(key);
        if (slot >= 0)
            _hostOffsets[slot] = hostOffset;
    }

    /// <summary>
    /// Copies every dirty slice with its place in the file; they are clean afterwards, but stay in the cache
    /// until <see cref="Written"/>.
    /// </summary>
    public void CaptureInto(SliceImage image)
    {
        if (Invariant.Thorough)
            CheckDirty();

        // In the order of the file, so that neighbours are written together.
        for (var i = 0; i < DirtyCount; i++)
            _dirtyOffsets[i] = _hostOffsets[_dirty[i]];
        Array.Sort(_dirtyOffsets, _dirty, 0, DirtyCount);
        for (var i = 0; i < DirtyCount; i++)
        {
            var slot = _dirty[i];
            Invariant.Holds(
                _states[slot] == SlotState.Dirty,
                "a slice is captured if it is dirty, and not while it is being written", slot, (long)_states[slot]);
            Invariant.Holds(
                i == 0 || _dirtyOffsets[i] - _dirtyOffsets[i - 1] >= SliceBytes,
                "two slices do not lie in one place of the file",
                _dirtyOffsets[i]);
            _states[slot] = (_states[slot] & ~SlotState.Dirty) | SlotState.Writing;
            image.Add(slot, _hostOffsets[slot], Data(slot));
        }

        DirtyCount = 0;
    }

    /// <summary>The captured slices are on disk, or could not be written and are dirty again.</summary>
    public void Written(SliceImage image, bool succeeded)
    {
        for (var i = 0; i < image.Count; i++)
        {
            var slot = image.Slot(i);
            Invariant.Holds((_states[slot] & SlotState.Writing) != 0, "a slice ends being written once, and only if it was captured", slot);
            _states[slot] &= ~SlotState.Writing;
            if (!succeeded)
                MarkDirty(slot);
        }
    }

    /// <summary>What is dirty is on the list of what is to be written, once, and nothing else is.</summary>
    private void CheckDirty()
    {
        var dirty = 0;
        foreach (var state in _states)
            dirty += (state & SlotState.Dirty) != 0 ? 1 : 0;
        Invariant.Holds(dirty == DirtyCount, "every dirty slice is written by the next commit", dirty, DirtyCount);
    }

    /// <summary>
    /// Nobody finds a slice any more, on any loop; what is dirty can still be captured. Before <see cref="Dispose"/>, with the
    /// end of every request in between that may have found one.
    /// </summary>
    public void ForgetKeys()
    {
        for (var slot = 0; slot < _keys.Length; slot++)
        {
            Volatile.Write(ref _keys[slot], NoKey);
            Volatile.Write(ref _generations[slot], _generations[slot] + GivenAway);
        }

        Interlocked.MemoryBarrier();
    }

    public void Dispose() => Files.Unmap(_memory, _memoryLength);
}
