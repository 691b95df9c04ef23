using System;
using System.Text;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Snapshots;

/// <summary>
/// A new snapshot, in three steps: nobody uses the disk in the first and the last, which are short; in between it is read and written.
/// </summary>
/// <remarks>
/// <para>
/// The first step is the moment of the snapshot. All is committed; then every L1 entry loses its COPIED flag, in the file too, and
/// every L2 entry in memory, or that is read of a table whose L1 entry has none. So the tables that there are at this moment are
/// never changed again by a write, and nothing that they point to is written in place: the first change of a table copies it, as
/// with any shared table, and from then on the copy is the active one.
/// </para>
/// <para>
/// What the second step counts is therefore fixed, however the disk is written: one use more of each table and of all that it points
/// to. What writes give up meanwhile waits in the free queue until all is counted: so no count can come too late, and what
/// was given up goes from 2 uses to 1. Flags are cleared in the file; the new L1 table and snapshot table are written; all is synced.
/// </para>
/// <para>
/// The third step writes the header's sector, with which the snapshot is there. Before it, refcounts are only too high and COPIED
/// flags only missing: whenever the server is killed or the power goes, the disk is what its users were promised, and what is left
/// of the snapshot leaks. The recovery log says of an entry that it was without its flag, and so it is read: see the first step.
/// </para>
/// </remarks>
internal sealed class SnapshotCreation(SnapshotParts parts, string name, DateTimeOffset taken)
{
    private readonly ImageContext _context = parts.Context;
    private readonly WaitQueue _counted = new();
    private FoundTable _found = null!;
    private TableWalk? _share;
    private string _id = "";
    private ulong[] _l1 = [];
    private long _copy;
    private long _table;
    private int _tableBytes;
    private bool _isShared;
    private bool _isCounting;
    private bool _isPublished;
    private bool _isTakenBack;
    private volatile bool _isCanceled;

    /// <summary>As <see cref="SnapshotEditor.Bitmaps"/>.</summary>
    public BitmapsSwitch? Bitmaps { get; init; }

    /// <summary>Whether it will not be made: only <see cref="EndAsync"/> is left to do.</summary>
    public bool IsGivenUp => _isTakenBack && !_isCounting;

    /// <summary>Ends the second step early, if it has not ended. Any thread.</summary>
    public void Cancel() => _isCanceled = true;

    /// <summary>The disk as it is now will be the snapshot's. A refusal has changed nothing.</summary>
    public async LoopTask<EditAnswer> BeginAsync()
    {
        if (parts.RefuseImage() is { } unsuitable)
            return unsuitable;
        var nameLength = Encoding.UTF8.GetByteCount(name);
        if (nameLength > ushort.MaxValue)
            return EditAnswer.Refused(EditResult.Invalid, $"a snapshot's name has at most {ushort.MaxValue} bytes, this one {nameLength}");
        (var error, _found) = await parts.ReadTableAsync();
        if (error < 0)
            return EditAnswer.OfErrno(error, "cannot read the snapshot table");
        if (_found.Entries.Count >= Limits.MaxSnapshots)
            return EditAnswer.Refused(EditResult.Failed, $"it has {_found.Entries.Count} snapshots, which is the most there can be");
        _id = SnapshotTableBytes.NextId(_found.Entries);
        if (NextTable() is null)
            return EditAnswer.Refused(EditResult.Failed, $"its snapshot table would have more than {Limits.MaxSnapshotTableBytes} bytes");

        // What an edit has done before this is part of it.
        error = await parts.CommitAsync();
        if (error < 0)
            return EditAnswer.OfErrno(error, "cannot write it");
        parts.Frees.Hold();
        _isShared = true;
        _l1 = parts.Map.Tables.Share();
        parts.Pending = this;
        error = await parts.CommitAsync();
        return error < 0 ? EditAnswer.OfErrno(error, "cannot write it") : EditAnswer.Done;
    }

    /// <summary>Counts what the snapshot uses, and writes its tables: all but the header. What fails is taken back.</summary>
    /// <param name="inTurns">whether the disk is used meanwhile</param>
    public async LoopTask<EditAnswer> CountAsync(bool inTurns)
    {
        _isCounting = true;
        int error;
        try
        {
            error = await CountAndWriteAsync(inTurns ? () => !_isCanceled : null);
        }
        catch (InvariantBreach breach)
        {
            error = _context.Stop(breach);
        }

        if (error < 0)
            await TakeBackAsync();
        _isCounting = false;
        _counted.WakeAll();
        if (error == 0)
            return EditAnswer.Done;
        return _share?.Refusal is { } why ? EditAnswer.Refused(EditResult.Failed, why) : EditAnswer.OfErrno(error, "cannot write it");
    }

    /// <summary>The snapshot is there when this succeeds.</summary>
    public async LoopTask<EditAnswer> PublishAsync()
    {
        if (_isCanceled)
            return EditAnswer.Refused(EditResult.Failed, "it was canceled");
        int error;
        try
        {
            error = await parts.SwitchAsync(_context.HeaderBlock.SetSnapshotsAsync(new HostOffset(_table), _found.Raw.Count + 1, Bitmaps));
        }
        catch (ImageFormatException full)
        {
            // The header has no room for the bitmaps: nothing was written, and all is to be taken back.
            return EditAnswer.Refused(EditResult.Failed, full.Why);
        }

        if (error < 0)
            return EditAnswer.OfErrno(error, "cannot write the header");
        _isPublished = true;
        parts.Protect(_copy, (long)_l1.Length * sizeof(ulong));
        parts.Protect(_table, _tableBytes);
        if (_found.Entries.Count > 0)
            parts.Free(_context.Header.SnapshotsOffset.Value, _found.Bytes);
        return EditAnswer.Done with { Json = SnapshotList.ToJson(_id, name) };
    }

    /// <summary>Waits until nothing is being counted any more, and gives up what is not published. The disk may be in use.</summary>
    public async LoopTask<int> GiveUpAsync()
    {
        _isCanceled = true;
        while (_isCounting)
            await _counted.WaitAsync();
        return await TakeBackAsync();
    }

    /// <summary>The last of it: when there is no snapshot, the flags of the active state come back. Nobody uses the disk.</summary>
    public async LoopTask<int> EndAsync()
    {
        if (!_isShared)
            return 0;
        parts.Pending = null;
        if (_isPublished)
            return 0;
        await GiveUpAsync();

        // Once writing has stopped, what was counted leaks: the header may be the new one.
        return _context.WriteError == 0 ? await parts.FlagActiveAsync() : 0;
    }

    private async LoopTask<int> CountAndWriteAsync(Func<bool>? goesOn)
    {
        _share = parts.NewWalk(WalkKind.Share, goesOn: goesOn);
        var error = await _share.RunAsync(_l1);
        if (error < 0)
            return error;
        parts.Frees.Release();
        _copy = await parts.WriteNewAsync(SnapshotParts.BytesOf(_l1));
        if (_copy < 0)
            return (int)_copy;
        var table = NextTable()!;
        _tableBytes = table.Length;
        _table = await parts.WriteNewAsync(table);
        return _table < 0 ? (int)_table : await parts.CommitAsync();
    }

    /// <summary>Once; what goes wrong leaks.</summary>
    private async LoopTask<int> TakeBackAsync()
    {
        var isFirst = !_isTakenBack;
        _isTakenBack = true;
        try
        {
            if (isFirst && _context.WriteError == 0 && !_isPublished)
            {
                if (_copy > 0)
                    await parts.ReleaseAsync(_copy, (long)_l1.Length * sizeof(ulong));
                if (_table > 0)
                    await parts.ReleaseAsync(_table, _tableBytes);
                if (_share is { Count: > 0 and var count })
                    await parts.NewWalk(WalkKind.Drop, goesOn: () => true).RunAsync(_l1, count);
            }
        }
        catch (InvariantBreach breach)
        {
            _context.Stop(breach);
        }

        parts.Frees.Release();
        return 0;
    }

    /// <summary>The snapshot table with this one, which has its L1 table where that was written.</summary>
    private byte[]? NextTable()
    {
        var entry = SnapshotTableBytes.Encode(
            new HostOffset(Math.Max(0, _copy)), parts.Map.Tables.L1.Entries, _id, name, taken, parts.Geometry.DiskSize);
        return SnapshotTableBytes.Join([.. _found.Raw, entry]);
    }
}
