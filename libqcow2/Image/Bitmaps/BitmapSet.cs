using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Bitmaps;

/// <summary>
/// The persistent bitmaps of an open image. Those that record are in memory and follow every change; of the others the directory is
/// known. On disk the recorded ones are, at any moment, a superset of what was written (<see cref="RecordingBitmap"/>).
/// </summary>
/// <remarks>
/// While a bitmap is followed it is marked in use in the directory, as the format demands: another program takes it for inconsistent.
/// <see cref="AutoclearFeatures.KeptBitmaps"/> says to a server of ours that it is not. An entry that really is inconsistent loses its
/// auto flag before that bit is set, so in use and auto together, under the bit, mean: nothing is missing.
/// </remarks>
internal sealed partial class BitmapSet : IDisposable
{
    private readonly IBitmapSpace _space;
    private readonly List<string> _unkept = [];
    private readonly List<RecordingBitmap> _kept = [];
    private readonly Dictionary<string, DirtyBitmap> _shown = [];
    private BitmapsExtension? _extension;
    private BitmapDirectoryBytes? _directory;
    private IBitmapShadow? _shadow;
    private readonly HashSet<string> _shownNames = [];
    private readonly HashSet<long> _keptTables = [];
    private bool _isMarked;
    private bool _isRecovered;

    // Null if nothing records: then the data path has nothing to ask.
    private RecordingBitmap[]? _recording;

    /// <param name="space">the image</param>
    public BitmapSet(IBitmapSpace space) => _space = space;

    /// <summary>Why the directory cannot be read; null if it can, or if there is none.</summary>
    public string? Damage { get; private set; }

    /// <summary>Those that record and cannot be kept, each with the reason: the first write makes them inconsistent.</summary>
    public IReadOnlyList<string> Unkept => _unkept;

    /// <summary>The directory as it is on disk; null if there is none, or if it is damaged.</summary>
    public BitmapDirectoryBytes? Directory => _directory;

    /// <summary>Whether something differs on disk: then <see cref="StoreAsync"/> has to run before anybody else opens the image.</summary>
    public bool NeedsStore => _isMarked;

    /// <summary>The autoclear bits that are true while the image is written, once <see cref="MarkAsync"/> was done.</summary>
    public AutoclearFeatures Features => _extension is null || Damage is not null ? AutoclearFeatures.None
        : _kept.Count > 0 ? AutoclearFeatures.Bitmaps | AutoclearFeatures.KeptBitmaps
        : AutoclearFeatures.Bitmaps;

    /// <summary>Reads the directory and, if the image is to be written, the bitmaps that record.</summary>
    /// <param name="extension">that points to it; null for no bitmaps</param>
    /// <param name="areKept">whether those that are in use lack nothing: <see cref="AutoclearFeatures.KeptBitmaps"/></param>
    /// <param name="forWriting">whether the image is to be written</param>
    /// <param name="shadow">where their bits outlive the process; null for nowhere. Belongs to the set from now on</param>
    /// <returns>0, or a negative errno; that bitmaps are damaged is no error of the image</returns>
    public async LoopTask<int> LoadAsync(BitmapsExtension? extension, bool areKept, bool forWriting, IBitmapShadow? shadow)
    {
        Forget();
        (_extension, _shadow) = (extension, shadow);
        if (extension is null)
            return 0;
        if (_foreignDirectory is not null)
        {
            Damage = _foreignDirectory;
            return 0;
        }

        var error = await ReadDirectoryAsync(extension);
        if (error < 0 || _directory is null)
            return error;
        if (forWriting && _directory.Entries.Any(entry => entry.Flags.HasFlag(BitmapFlags.Auto)))
            error = await ProveDirectoryAsync();
        if (error < 0 || _directory is null)
            return error;
        if (forWriting)
            error = await LoadRecordingAsync(areKept);
        if (error < 0)
            return error;
        Volatile.Write(ref _recording, _kept.Count == 0 ? null : [.. _kept]);
        return 0;
    }

    /// <summary>The bits of a bitmap, to look at: as they are now if it records, else as they were read.</summary>
    /// <returns>null if it is not loaded</returns>
    public DirtyBitmap? Find(string name) =>
        _kept.Find(bitmap => bitmap.Stored.Name == name)?.Bits ?? _shown.GetValueOrDefault(name);

    /// <summary>Whether somebody looks at the bitmap.</summary>
    public bool IsShown(string name) => _shownNames.Contains(name);

    /// <summary>Whether the bitmap is followed, so that its in-use mark is ours.</summary>
    public bool IsKept(BitmapEntry entry) => entry.Flags.HasFlag(BitmapFlags.Auto) && _keptTables.Contains(entry.TableOffset.Value);

    /// <summary>Reads a bitmap that is not loaded.</summary>
    /// <param name="entry">of the directory; not inconsistent</param>
    /// <returns>its bits, which the caller disposes of; or null and a negative errno</returns>
    /// <exception cref="ImageFormatException">it is damaged</exception>
    public async LoopTask<(int Error, DirtyBitmap? Bits)> ReadAsync(BitmapEntry entry)
    {
        var (error, stored) = await StoredBitmap.LoadAsync(_space.File, entry, _space.DiskSize, _space.ClusterBits);
        if (error < 0)
            return (error, null);
        var bits = new DirtyBitmap(stored!.Shape, BitmapMemory.OfProcess(stored.Shape.Bits));
        error = await stored.ReadBitsAsync(_space.File, bits, _space.ClusterBits);
        if (error == 0)
            return (0, bits);
        bits.Dispose();
        return (error, null);
    }

    /// <summary>Keeps a bitmap in memory, for those that look at it.</summary>
    /// <returns>0 or a negative errno</returns>
    /// <exception cref="ImageFormatException">it is damaged</exception>
    public async LoopTask<int> ShowAsync(BitmapEntry entry)
    {
        if (Find(entry.Name) is null)
        {
            var (error, bits) = await ReadAsync(entry);
            if (error < 0)
                return error;
            _shown.Add(entry.Name, bits!);
        }

        _shownNames.Add(entry.Name);
        return 0;
    }

    /// <summary>Binds the bits in the shadow to this image, once it is known what it looks like while they are valid.</summary>
    /// <param name="proof">of the image</param>
    /// <param name="mark">that the header has then</param>
    public void BindShadow(ReadOnlySpan<byte> proof, byte mark) => _shadow?.Bind(proof, mark);

    public void Dispose() => Forget();

    private void Forget()
    {
        Volatile.Write(ref _recording, null);
        foreach (var bitmap in _kept)
            bitmap.Dispose();
        foreach (var bits in _shown.Values)
            bits.Dispose();
        _kept.Clear();
        _keptTables.Clear();
        _shown.Clear();
        _unkept.Clear();
        _shownNames.Clear();
        _space.UnprotectAll();
        _shadow?.Dispose();
        (_shadow, _directory, Damage) = (null, null, null);
        _isMarked = _isRecovered = false;
    }

    private async LoopTask<int> ReadDirectoryAsync(BitmapsExtension extension)
    {
        var pool = LoopScheduler.Current.Buffers;
        var directory = pool.Rent((int)Rounding.Up(extension.DirectorySize, _space.WriteUnit));
        var error = await _space.File.ReadAsync(extension.DirectoryOffset.Value, directory);
        try
        {
            if (error == 0)
            {
                _directory = new BitmapDirectoryBytes(
                    directory.Span[..extension.DirectorySize], extension.NumberOfBitmaps, 1 << _space.ClusterBits, _space.File.Path);
            }
            else
            {
                Damage = $"cannot read the bitmap directory: {Errno.Text(error)}";
            }
        }
        catch (ImageFormatException damage)
        {
            Damage = damage.Why;
        }

        pool.Return(directory);
        return 0;
    }

    private async LoopTask<int> LoadRecordingAsync(bool areKept)
    {
        var found = new List<StoredBitmap>();
        var budget = (long)Limits.MaxBitmapDataBytes;
        foreach (var entry in _directory!.Entries)
        {
            if (!entry.Flags.HasFlag(BitmapFlags.Auto) || (entry.Flags.HasFlag(BitmapFlags.InUse) && !areKept))
                continue;
            var (why, stored) = await LoadTableAsync(entry, budget);
            if (why is not null)
            {
                _unkept.Add($"{entry.Name} ({why})");
                continue;
            }

            budget -= stored!.Shape.Bytes;
            found.Add(stored);
            _keptTables.Add(stored.TableOffset.Value);
            _isMarked |= entry.Flags.HasFlag(BitmapFlags.InUse);
        }

        _isRecovered = _isMarked;
        var left = _isMarked ? _shadow?.TakeLeft(found) : null;
        var fresh = left is null ? _shadow?.MakeFor(found) : null;
        for (var i = 0; i < found.Count; i++)
        {
            var memory = left?[i] ?? fresh?[i] ?? BitmapMemory.OfProcess(found[i].Shape.Bits);
            var bits = new DirtyBitmap(found[i].Shape, memory);
            _kept.Add(new RecordingBitmap(found[i], bits, _space.ClusterBits, _space.SmallestRegion));
            if (left is null && await found[i].ReadBitsAsync(_space.File, bits, _space.ClusterBits) is var error and < 0)
                return error;
        }

        return 0;
    }

    /// <returns>why it cannot be kept, or its table</returns>
    private async LoopTask<(string? Why, StoredBitmap? Stored)> LoadTableAsync(BitmapEntry entry, long budget)
    {
        if (entry.Type != BitmapDirectory.DirtyTrackingType)
            return ($"its type is {entry.Type}", null);
        if (entry.ExtraDataSize > 0 && !entry.Flags.HasFlag(BitmapFlags.ExtraDataCompatible))
            return ("it has extra data of an unknown kind", null);
        if (new BitmapShape(_space.DiskSize, entry.GranularityBits).Bytes > budget)
            return ($"the bitmaps that record take more than {Limits.MaxBitmapDataBytes} bytes", null);
        try
        {
            var (error, stored) = await StoredBitmap.LoadAsync(_space.File, entry, _space.DiskSize, _space.ClusterBits);
            return (error < 0 ? $"its table cannot be read: {Errno.Text(error)}"
                : TryProtect(stored!) ? null
                : "its clusters are free, or used for something else", stored);
        }
        catch (ImageFormatException damage)
        {
            return (damage.Why, null);
        }
    }

    private bool TryProtect(StoredBitmap stored)
    {
        if (!TryProtect(stored.TableOffset.Value, TableClusters(stored)))
            return false;
        for (var index = 0; index < stored.Clusters; index++)
        {
            if (BitmapTableEntry.OffsetOf(stored[index]) is not 0 and var offset && !TryProtect(offset, 1))
                return false;
        }

        return true;
    }

    private bool TryProtect(long offset, long clusters) =>
        _space.IsOwn(offset, clusters) && _space.TryProtect(offset, clusters);
}
