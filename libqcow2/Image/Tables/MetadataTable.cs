using System;
using System.Buffers;
using System.Buffers.Binary;
using DotNext.Buffers;
using Qcow2Blk.Buffers;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Tables;

/// <summary>
/// A table of 64-bit entries that is wholly in memory (L1 table, refcount table), and which parts of it differ
/// from the file. Entries are kept as on disk, in big endian.
/// </summary>
/// <remarks>Invariant: the native memory covers <see cref="Entries"/> rounded up to the write unit.</remarks>
internal sealed unsafe class MetadataTable : IDisposable
{
    private readonly int _unit;
    private IMemoryOwner<byte> _memory;
    private ulong* _entries;
    private bool[] _dirty;
    private int _dirtyCount;

    /// <param name="entries">how many entries the table has</param>
    /// <param name="hostOffset">where it is in the file</param>
    /// <param name="unit">bytes of the smallest write the file takes, at least 512</param>
    public MetadataTable(int entries, long hostOffset, int unit)
    {
        _unit = unit;
        Entries = entries;
        HostOffset = hostOffset;
        _memory = Allocate(entries);
        _entries = (ulong*)NativeBuffer.Of(_memory).Address;
        _dirty = new bool[Units(entries)];
    }

    public int Entries { get; private set; }

    public long HostOffset { get; private set; }

    public bool IsDirty => _dirtyCount > 0;

    /// <summary>Whether something among the first <paramref name="entries"/> entries differs from the file.</summary>
    public bool IsDirtyBelow(int entries) => _dirtyCount > 0 && Array.IndexOf(_dirty, true, 0, Units(entries)) >= 0;

    public ulong this[int index]
    {
        get
        {
            Check(index);
            return BinaryPrimitives.ReverseEndianness(_entries[index]);
        }

        set
        {
            Check(index);
            _entries[index] = BinaryPrimitives.ReverseEndianness(value);
            MarkDirty(index * sizeof(ulong) / _unit);
        }
    }

    public LoopTask<int> LoadAsync(IBlockStorage file) =>
        file.ReadAsync(HostOffset, new NativeBuffer((nint)_entries, Entries * sizeof(ulong)));

    /// <summary>Makes the table larger in memory; new entries are 0. Its place in the file is still the old one.</summary>
    public void Grow(int entries)
    {
        Invariant.Holds(entries >= Entries, "a table never loses entries", entries, Entries);
        var smaller = _memory;
        _memory = Allocate(entries);
        smaller.Memory.CopyTo(_memory.Memory);
        smaller.Dispose();
        _entries = (ulong*)NativeBuffer.Of(_memory).Address;
        Entries = entries;
        Array.Resize(ref _dirty, Units(entries));
    }

    /// <summary>Gives the table a new place.</summary>
    /// <param name="hostOffset">where it is in the file</param>
    /// <param name="isThere">whether all of it was written there already</param>
    public void MoveTo(long hostOffset, bool isThere = false)
    {
        Invariant.Holds(hostOffset > 0 && hostOffset % _unit == 0, "a table begins with a write unit of the file", hostOffset);
        HostOffset = hostOffset;
        for (var unit = 0; unit < _dirty.Length && !isThere; unit++)
            MarkDirty(unit);
    }

    /// <summary>Copies what differs from the file among the first <paramref name="entries"/> entries; it counts as clean then.</summary>
    public void CaptureInto(SliceImage image, int entries)
    {
        if (_dirtyCount == 0)
            return;
        if (Invariant.Thorough)
        {
            Invariant.Holds(
                _dirty.AsSpan().Count(true) == _dirtyCount,
                "every part of a table that was changed is written by the next commit", _dirtyCount);
        }

        Invariant.Holds(entries <= Entries && HostOffset > 0, "what is written of a table is in it, and has a place", entries, Entries);
        var units = Units(entries);
        for (var unit = 0; unit < units; unit++)
        {
            if (!_dirty[unit])
                continue;
            _dirty[unit] = false;
            _dirtyCount--;
            image.Add(unit, HostOffset + ((long)unit * _unit), new ReadOnlySpan<byte>((byte*)_entries + ((long)unit * _unit), _unit));
        }
    }

    /// <summary>The captured parts could not be written: they differ from the file again.</summary>
    public void Recapture(SliceImage image)
    {
        for (var i = 0; i < image.Count; i++)
            MarkDirty(image.Slot(i));
    }

    public void Dispose()
    {
        _memory.Dispose();
        _entries = null;
    }

    private void MarkDirty(int unit)
    {
        if (_dirty[unit])
            return;
        _dirty[unit] = true;
        _dirtyCount++;
    }

    private void Check(int index) =>
        Invariant.Holds((uint)index < (uint)Entries, "an entry that is used is in its table", index, Entries);

    private int Units(int entries) => (int)((((long)entries * sizeof(ulong)) + _unit - 1) / _unit);

    private IMemoryOwner<byte> Allocate(int entries)
    {
        var memory = UnmanagedMemory.AllocatePageAlignedMemory(checked(Math.Max(1, Units(entries)) * _unit));
        memory.Memory.Span.Clear();
        return memory;
    }
}
