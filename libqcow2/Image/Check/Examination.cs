using System;
using System.Collections.Generic;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Check;

/// <summary>
/// Looks at all metadata of an image: counts every reference that it makes and compares with its refcounts, as qemu-img check
/// does, with the same findings. Shares no cache with the engine. Work and memory are bounded by what the file stores.
/// </summary>
internal sealed class Examination
{
    /// <summary>How much of the work reading refcounts is, for those who watch.</summary>
    internal const double RefcountShare = 0.2;

    private readonly CheckMode _mode;
    private readonly RefcountTable _refcounts;
    private readonly SnapshotReferences _snapshots;
    private readonly CopiedCheck _copied;
    private readonly L1Tables _l1;

    private Examination(ImageUnderCheck image, CheckMode mode)
    {
        (Image, _mode) = (image, mode);
        _refcounts = new RefcountTable(image);
        _snapshots = new SnapshotReferences(image, mode);
        _copied = new CopiedCheck(image);
        _l1 = new L1Tables(image, _refcounts) { ActiveEntries = mode == CheckMode.Report ? _copied : null };
    }

    public ImageUnderCheck Image { get; }

    public RefcountTable Refcounts => _refcounts;

    public SnapshotReferences Snapshots => _snapshots;

    /// <summary>L2 tables that L1 tables name.</summary>
    public IReadOnlyList<L2TableUse> L2Tables { get; private set; } = [];

    /// <summary>L2 entries of preallocated clusters that are where no cluster can be; only when everything is to be repaired.</summary>
    public List<long> MayBecomeZero { get; } = [];

    /// <summary>Whether refcounts can be put right only by making all of them anew.</summary>
    public bool MustRebuild { get; private set; }

    /// <summary>Whether the refcount table has blocks that are not in the file.</summary>
    public bool HasLostBlocks => _refcounts.BlocksOutside > 0 || Image.BrokenBlocks.Count > 0;

    /// <summary>Errors that were found before refcount blocks were looked at.</summary>
    public long ErrorsOfTables { get; private set; }

    /// <summary>Those of them that are about the place of the refcount table.</summary>
    public long ErrorsOfRefcountTable { get; private set; }

    /// <summary>Those of them that are about entries in <see cref="MayBecomeZero"/>.</summary>
    public long ErrorsOfZeroed { get; private set; }

    /// <summary>Examines a file on the calling loop. Nothing may write to it meanwhile.</summary>
    /// <param name="file">the image file</param>
    /// <param name="mode">what is going to be repaired; with <see cref="CheckMode.Report"/> COPIED flags are looked at too</param>
    /// <param name="result">gets the findings; <see cref="CheckResult.Stopped"/> if not everything could be looked at</param>
    /// <param name="progress">hears how far it is</param>
    /// <returns>null if there was nothing to examine</returns>
    /// <exception cref="ImageFormatException">it is no image, or one of a kind that nobody knows</exception>
    public static async LoopTask<Examination?> RunAsync(IBlockStorage file, CheckMode mode, CheckResult result,
        Action<string, double>? progress = null)
    {
        ArgumentNullException.ThrowIfNull(file);
        var image = await ImageUnderCheck.OpenAsync(file, result, progress);
        if (image is null)
            return null;
        var examination = new Examination(image, mode);
        var error = await examination.RunAsync();
        if (error < 0)
        {
            result.ReadError = error;
            result.Stop($"reading the file failed (errno {-error})");
        }

        return examination;
    }

    private async LoopTask<int> RunAsync()
    {
        var error = await _snapshots.ReadAsync();
        if (error >= 0 && !IsStopped)
            error = await _refcounts.LoadAsync();
        if (error >= 0 && !IsStopped)
            error = await CountAsync();
        if (error < 0 || IsStopped)
            return error;
        new RefcountComparison(Image, _refcounts).Run(this);
        return _mode == CheckMode.Report ? await _copied.FinishAsync(_refcounts) : 0;
    }

    private bool IsStopped => Image.Result.Stopped is not null;

    internal void RefcountIsMissing() => MustRebuild = true;

    /// <summary>In the order of qemu: what comes after something else may find its clusters taken.</summary>
    private async LoopTask<int> CountAsync()
    {
        var header = Image.Header;
        Image.Count(0, Image.ClusterSize, CheckSubject.Header);
        Image.Tables.Add((0, Image.ClusterSize));
        var error = await _l1.ReadActiveAsync();
        if (error < 0 || IsStopped)
            return error;
        _snapshots.CountReferences(_l1);
        error = IsStopped ? 0 : await _l1.ReadSnapshotsAsync();
        if (error < 0 || IsStopped)
            return error;
        error = await WalkAsync();
        if (error < 0 || IsStopped)
            return error;
        CountTable(_snapshots.Offset, _snapshots.Length, CheckSubject.Header);
        var before = Image.Result.Errors;
        CountTable(header.RefcountTableOffset.Value, (long)header.RefcountTableClusters << header.ClusterBits, CheckSubject.Header);
        ErrorsOfRefcountTable = Image.Result.Errors - before;
        CountEncryptionHeader();
        error = IsStopped ? 0 : await new BitmapReferences(Image).CountAsync();
        if (error < 0 || IsStopped)
            return error;
        ErrorsOfTables = Image.Result.Errors;
        MustRebuild = _refcounts.CountBlocks();
        return 0;
    }

    private async LoopTask<int> WalkAsync()
    {
        L2Tables = _l1.Tables.Take();
        var walk = new L2Walk(Image, _refcounts)
        {
            Copied = _mode == CheckMode.Report ? _copied : null,
            MayBecomeZero = _mode == CheckMode.All ? MayBecomeZero : null,
        };
        var error = await walk.RunAsync(L2Tables);
        ErrorsOfZeroed = walk.ErrorsOfZeroed;
        return error;
    }

    private void CountTable(long offset, long length, CheckSubject from)
    {
        Image.Count(offset, length, from);
        Image.Tables.Add((offset, offset + length));
    }

    /// <summary>LUKS keeps its header, with the key slots, in clusters of its own.</summary>
    private void CountEncryptionHeader()
    {
        foreach (var extension in Image.Header.Extensions)
        {
            if (extension.Type != HeaderExtension.FullDiskEncryption)
                continue;
            var offset = System.Buffers.Binary.BinaryPrimitives.ReadInt64BigEndian(extension.Data);
            var length = System.Buffers.Binary.BinaryPrimitives.ReadInt64BigEndian(extension.Data.AsSpan(8));
            if ((offset & Image.ClusterMask) != 0 || offset < 0 || length < 0 || length > long.MaxValue - offset)
                Image.Result.Stop($"the encryption header at 0x{offset:x} with {length} bytes is not where one can be");
            else
                CountTable(offset, length, CheckSubject.Header);
        }
    }
}
