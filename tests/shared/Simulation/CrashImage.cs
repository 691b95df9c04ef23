using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;

namespace Qcow2Blk.Tests.Shared.Simulation;

/// <summary>
/// What may be on disk after the power went at some moment of a recorded run: everything that a completed flush
/// covers, and of what was begun since, any part, sector by sector.
/// </summary>
/// <remarks>
/// Use: <see cref="AdvanceTo"/> (moments only go forward), <see cref="Cut"/>, look at the bytes, <see cref="Restore"/>,
/// next. A sector (512 bytes) is never torn, and holds what some prefix of the writes to it left, as with disks.
/// </remarks>
internal sealed class CrashImage : IImageBytes
{
    public const int SectorSize = 512;

    private readonly List<(long Tick, bool Ended, StorageOperation Operation)> _events = [];
    private readonly List<StorageOperation> _pending = [];
    private readonly List<(int Sector, int Saved)> _undo = [];
    private readonly byte[] _bytes;
    private readonly long[] _writtenAt;
    private byte[] _saved = new byte[SectorSize * 64];
    private long _length;
    private long _lengthBeforeCut;
    private long _grownAt;
    private int _next;

    public CrashImage(SparseBytes before, StorageLog log)
    {
        ArgumentNullException.ThrowIfNull(before);
        ArgumentNullException.ThrowIfNull(log);
        _length = before.Length;
        var capacity = RoundUp(Math.Max(before.Length, Extent(log)));
        _bytes = new byte[capacity];
        before.Read(0, _bytes.AsSpan(0, (int)before.Length));
        _writtenAt = new long[capacity / SectorSize];
        foreach (var operation in log.Operations)
        {
            _events.Add((operation.Submitted, false, operation));
            if (operation.Completed != long.MaxValue)
                _events.Add((operation.Completed, true, operation));
        }

        _events.Sort(static (left, right) => left.Tick.CompareTo(right.Tick));
    }

    public long Length => _length;

    /// <summary>Operations that are begun at this moment and that no completed flush covers.</summary>
    public int Pending => _pending.Count;

    public void Read(long offset, Span<byte> into)
    {
        var count = (int)Math.Clamp(_length - offset, 0, into.Length);
        if (count > 0)
            _bytes.AsSpan((int)offset, count).CopyTo(into);
        into[count..].Clear();
    }

    /// <summary>Goes on to <paramref name="tick"/> of the log: what flushes cover by then is on disk for good.</summary>
    public void AdvanceTo(long tick)
    {
        for (; _next < _events.Count && _events[_next].Tick <= tick; _next++)
        {
            var (_, ended, operation) = _events[_next];
            if (operation.Kind != StorageOperationKind.Flush)
            {
                if (!ended && MayReachDisk(operation))
                    Insert(operation);
            }
            else if (ended && operation.Result == 0)
            {
                Settle(operation);
            }
        }
    }

    /// <summary>The power goes: a random part of what is pending reaches the disk.</summary>
    public void Cut(Random random)
    {
        ArgumentNullException.ThrowIfNull(random);
        _lengthBeforeCut = _length;
        var fate = new PowerCut(random, _pending);
        for (var index = 0; index < _pending.Count; index++)
        {
            var operation = _pending[index];
            if (operation.Kind == StorageOperationKind.SetLength)
            {
                if (fate.Survives(operation, 0))
                    ApplyLength(operation, keep: true);
                continue;
            }

            for (var sector = operation.Offset / SectorSize; sector * SectorSize < operation.Offset + operation.Length; sector++)
            {
                if (fate.Survives(operation, sector))
                    ApplyWithEarlier(index, sector, keep: true);
            }
        }
    }

    /// <summary>Takes the last <see cref="Cut"/> back.</summary>
    public void Restore()
    {
        for (var index = _undo.Count - 1; index >= 0; index--)
        {
            var (sector, saved) = _undo[index];
            _saved.AsSpan(saved, SectorSize).CopyTo(_bytes.AsSpan(sector * SectorSize));
        }

        _undo.Clear();
        _length = _lengthBeforeCut;
    }

    public void Save(string path)
    {
        using var file = File.OpenHandle(path, FileMode.Create, FileAccess.ReadWrite);
        RandomAccess.Write(file, _bytes.AsSpan(0, (int)_length), 0);
    }

    /// <summary>A copy that an engine may open and change.</summary>
    public SparseBytes ToSparseBytes()
    {
        var copy = new SparseBytes();
        copy.SetLength(_length);
        for (var offset = 0; offset < _length; offset += 4096)
        {
            var page = _bytes.AsSpan(offset, (int)Math.Min(4096, _length - offset));
            if (page.ContainsAnyExcept((byte)0))
                copy.Write(offset, page);
        }

        return copy;
    }

    /// <summary>Of what failed, only a write may be on disk in part.</summary>
    private static bool MayReachDisk(StorageOperation operation) =>
        operation.Result == 0 || operation.Kind == StorageOperationKind.Write;

    private static long Extent(StorageLog log)
    {
        long extent = 0;
        foreach (var operation in log.Operations.Where(operation => operation.Kind != StorageOperationKind.Flush))
            extent = Math.Max(extent, operation.Offset + operation.Length);
        return extent;
    }

    private static long RoundUp(long length) => (length + SectorSize - 1) / SectorSize * SectorSize;

    /// <summary>Pending operations stay in the order in which they took effect.</summary>
    private void Insert(StorageOperation operation)
    {
        var index = _pending.Count;
        while (index > 0 && _pending[index - 1].Effective > operation.Effective)
            index--;
        _pending.Insert(index, operation);
    }

    private void Settle(StorageOperation flush)
    {
        for (var index = 0; index < _pending.Count; index++)
        {
            var operation = _pending[index];
            if (!IsCovered(operation, flush))
                continue;
            if (operation.Kind == StorageOperationKind.SetLength)
            {
                ApplyLength(operation, keep: false);
            }
            else
            {
                for (var sector = operation.Offset / SectorSize; sector * SectorSize < operation.Offset + operation.Length; sector++)
                    ApplyWithEarlier(index, sector, keep: false);
            }
        }

        _pending.RemoveAll(operation => IsCovered(operation, flush));
    }

    /// <summary>A write that failed is never known to be on disk, whatever flush comes after it.</summary>
    private static bool IsCovered(StorageOperation operation, StorageOperation flush) =>
        operation.Completed < flush.Submitted && operation.Result == 0 && (flush.Length == 0 || IsWithin(operation, flush));

    /// <summary>Whether a flush of a part of the file is of the part that was written (<see cref="StorageWindow"/>).</summary>
    private static bool IsWithin(StorageOperation operation, StorageOperation flush) =>
        operation.Kind == StorageOperationKind.SetLength ? flush.Offset > 0
            : operation.Offset >= flush.Offset && operation.Offset - flush.Offset < flush.Length;

    private void ApplyLength(StorageOperation operation, bool keep)
    {
        if (operation.Length >= operation.LengthBefore)
        {
            _length = Math.Max(_length, operation.Length);
            return;
        }

        // A later write that is on disk already has grown the file again.
        if (_grownAt > operation.Effective)
            return;
        Clear(operation.Length, _length, operation.Effective, keep);
        _length = operation.Length;
    }

    private void ApplyWithEarlier(int index, long sector, bool keep)
    {
        // Part of a sector only goes to disk with all that was done to the sector before.
        var operation = _pending[index];
        if (!CoversSector(operation, sector))
        {
            for (var earlier = 0; earlier < index; earlier++)
            {
                if (Touches(_pending[earlier], sector))
                    ApplyAndGrow(_pending[earlier], sector, keep);
            }
        }

        ApplyAndGrow(operation, sector, keep);
    }

    private void ApplyAndGrow(StorageOperation operation, long sector, bool keep)
    {
        ApplySector(operation, (int)sector, keep);
        var end = Math.Min((sector + 1) * SectorSize, operation.Offset + operation.Length);
        if (operation.Kind == StorageOperationKind.Punch || end <= _length)
            return;
        _length = end;
        if (!keep)
            _grownAt = operation.Effective;
    }

    private static bool CoversSector(StorageOperation operation, long sector) =>
        operation.Offset <= sector * SectorSize && operation.Offset + operation.Length >= (sector + 1) * SectorSize;

    private static bool Touches(StorageOperation operation, long sector) =>
        operation.Kind != StorageOperationKind.SetLength
        && operation.Offset < (sector + 1) * SectorSize && operation.Offset + operation.Length > sector * SectorSize;

    private void ApplySector(StorageOperation operation, int sector, bool keep)
    {
        // A later write of this sector is on disk already.
        if (_writtenAt[sector] > operation.Effective)
            return;
        if (keep)
            SaveSector(sector);
        else
            _writtenAt[sector] = operation.Effective;
        var from = Math.Max(operation.Offset, (long)sector * SectorSize);
        var to = Math.Min(operation.Offset + operation.Length, (sector + 1L) * SectorSize);
        var target = _bytes.AsSpan((int)from, (int)(to - from));
        if (operation.Kind == StorageOperationKind.Write)
            operation.Data.AsSpan((int)(from - operation.Offset), target.Length).CopyTo(target);
        else
            target.Clear();
    }

    private void Clear(long from, long to, long effective, bool keep)
    {
        for (var sector = from / SectorSize; sector * SectorSize < to; sector++)
        {
            if (_writtenAt[sector] > effective)
                continue;
            if (keep)
                SaveSector((int)sector);
            else
                _writtenAt[sector] = effective;
            var start = (int)Math.Max(from, sector * SectorSize);
            _bytes.AsSpan(start, (int)Math.Min(to, (sector + 1) * SectorSize) - start).Clear();
        }
    }

    private void SaveSector(int sector)
    {
        var at = _undo.Count * SectorSize;
        if (at == _saved.Length)
            Array.Resize(ref _saved, _saved.Length * 2);
        _bytes.AsSpan(sector * SectorSize, SectorSize).CopyTo(_saved.AsSpan(at));
        _undo.Add((sector, at));
    }
}
