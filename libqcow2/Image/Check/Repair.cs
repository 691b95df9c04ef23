using System;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Check;

/// <summary>
/// Repairs what an examination found. The power may go at any step: refcounts go up before anything relies on them, tables
/// change by writes of single sectors, refcounts go down when nothing refers to their clusters any more, and the marks in the
/// header go last.
/// </summary>
internal sealed class Repair
{
    private readonly Examination _found;
    private readonly ImageUnderCheck _image;
    private readonly CheckMode _mode;
    private readonly RepairWriter _writer;
    private readonly TableGuard _guard;
    private readonly FreeClusters _free;
    private RefcountRebuilding? _rebuilding;
    private SnapshotTableRepair? _table;
    private long _refused;

    private Repair(Examination found, CheckMode mode)
    {
        (_found, _image, _mode) = (found, found.Image, mode);
        _writer = new RepairWriter(_image, changesDisk: mode == CheckMode.All && found.MayBecomeZero.Count > 0);
        _guard = new TableGuard(_image, found.Refcounts);
        _free = new FreeClusters(_image, found.Refcounts);
    }

    /// <summary>Errors that this repair does not mend.</summary>
    public static long ErrorsThatStay(Examination found, CheckMode mode) =>
        mode == CheckMode.Leaks ? found.Image.Result.Errors
        : found.ErrorsOfTables - found.Snapshots.Errors - found.ErrorsOfZeroed
            - (found.MustRebuild || found.HasLostBlocks ? found.ErrorsOfRefcountTable : 0);

    /// <summary>Repairs the file of an examination, and counts what was repaired in its result.</summary>
    /// <returns>0; a negative errno of a write. <see cref="CheckResult.Stopped"/> if nothing may be repaired</returns>
    public static LoopTask<int> RunAsync(Examination found, CheckMode mode) => new Repair(found, mode).RunAsync();

    private async LoopTask<int> RunAsync()
    {
        var error = await PlanAsync();
        if (error < 0 || IsStopped)
            return error;
        var result = _image.Result;
        var (leaks, errors, left) = (result.Leaks, result.Errors, ErrorsThatStay(_found, _mode));
        error = _mode == CheckMode.Leaks ? await new RefcountCorrection(_image, _found.Refcounts, _writer).LowerAsync() : await AllAsync();
        if (error < 0)
            return error;
        result.LeaksFixed += leaks;
        result.ErrorsFixed += errors - left + _found.MayBecomeZero.Count;

        // As qemu counts: what else was wrong with such entries is gone, and was not repaired.
        if (_rebuilding is null && _mode == CheckMode.All)
            result.ErrorsFixed -= _found.ErrorsOfZeroed;
        left += _refused;
        (result.Errors, result.Leaks) = (left, 0);
        if (_mode == CheckMode.Leaks && left == 0)
            error = await CopiedAfterLeaksAsync();
        if (error >= 0 && left + _refused == 0)
            error = await _writer.MarkSoundAsync();
        return error;
    }

    private bool IsStopped => _image.Result.Stopped is not null;

    /// <summary>Everything that can fail for want of room, or because of what was found, fails here: nothing was written then.</summary>
    private async LoopTask<int> PlanAsync()
    {
        if (_mode == CheckMode.Leaks)
        {
            if (_found.MustRebuild || _image.Result.CheckErrors > 0)
                _image.Result.Stop("refcounts are missing: --repair all makes new ones");
            return 0;
        }

        foreach (var entry in _found.MayBecomeZero)
        {
            if (_guard.Holds(entry, _image.Rules.EntryBytes))
                _image.Result.Stop($"the L2 entry at 0x{entry:x} lies on other metadata and cannot be repaired");
        }

        if (_found.Snapshots.Errors > 0)
        {
            _table = new SnapshotTableRepair(_image, _found.Snapshots);
            var error = await _table.PlanAsync(_free);
            if (error < 0 || IsStopped)
                return error;
        }

        if (!_found.MustRebuild && !_found.HasLostBlocks && !NeedsBlocks())
            return 0;
        _rebuilding = new RefcountRebuilding(_image, _found.Refcounts, _free);
        if (_rebuilding.Plan() is { } why)
            _image.Result.Stop(why);
        return 0;
    }

    /// <summary>Whether the snapshot table went where no refcount block is.</summary>
    private bool NeedsBlocks()
    {
        if (_table is null)
            return false;
        for (var cluster = 0; (cluster = _image.Counts.NextSet(_image.Counts, cluster, _image.Clusters)) < _image.Clusters; cluster++)
        {
            if (_image.Stored[cluster] == 0 && _found.Refcounts.BlockAt(cluster / _image.BlockEntries) == 0)
                return true;
        }

        return false;
    }

    private async LoopTask<int> AllAsync()
    {
        var correction = new RefcountCorrection(_image, _found.Refcounts, _writer);
        var copied = new CopiedRepair(_image, _found.L2Tables, _writer, _guard);
        var error = _found.Snapshots.Dropped > 0 ? await DropSnapshotsAsync() : 0;
        if (error >= 0)
            error = _rebuilding is null ? await correction.RaiseAsync() : await _rebuilding.WriteAsync(_writer);
        if (error >= 0)
            error = await ZeroAsync();
        if (error >= 0)
            error = await copied.RunAsync(value: false, _image.Wanted);
        if (error >= 0 && _table is not null)
        {
            error = await _table.WriteAsync(_writer);
            _table.Forget();
        }

        if (error >= 0)
            error = await correction.LowerAsync();
        if (error >= 0 && copied.Left > 0)
            error = await copied.RunAsync(value: true, _image.Wanted);
        Note(copied);
        return error;
    }

    /// <summary>Snapshots that nobody reads go first: their clusters are counted no more.</summary>
    private async LoopTask<int> DropSnapshotsAsync()
    {
        _image.Result.ErrorsFixed += _found.Snapshots.Dropped;
        var error = await _writer.SetSnapshotTableAsync(_found.Snapshots.Entries.Count, _found.Snapshots.Offset);
        return error < 0 ? error : await _writer.FlushAsync();
    }

    private async LoopTask<int> ZeroAsync()
    {
        using var buffer = new TableBuffer(_image.Rules.EntryBytes);
        foreach (var at in _found.MayBecomeZero)
        {
            var error = await buffer.ReadAsync(_image.File, at, _image.Rules.EntryBytes);
            if (error < 0)
                return error;
            ClusterDescriptor.MakeZero(buffer.Span, _image.Rules);
            error = await _writer.WriteAsync(at, buffer.Span[.._image.Rules.EntryBytes].ToArray());
            if (error < 0)
                return error;
        }

        return await _writer.FlushAsync();
    }

    /// <summary>With the leaks gone and no other error, the refcounts are true, and flags can be held against them.</summary>
    private async LoopTask<int> CopiedAfterLeaksAsync()
    {
        var copied = new CopiedRepair(_image, _found.L2Tables, _writer, _guard);
        var error = await copied.RunAsync(value: false, _image.Wanted);
        if (error >= 0 && copied.Left > 0)
            error = await copied.RunAsync(value: true, _image.Wanted);
        Note(copied);
        return error;
    }

    private void Note(CopiedRepair copied)
    {
        _image.Result.ErrorsFixed += copied.Changed;
        _refused += copied.Refused;
    }
}
