using System;
using System.Threading;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Change;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Raw;

/// <summary>A file whose bytes are the disk's. Its size is rounded up to a whole sector, as qemu does.</summary>
internal sealed class RawDisk : IDisk
{
    private readonly IBlockStorage _file;
    private readonly DiscardMode _discard;
    private readonly Action<string>? _report;
    private readonly bool _sparse;
    private readonly WriteTurns _turns;
    private readonly RequestCount _requests = new();
    private readonly AsyncLock _flush = new();
    private volatile int _writeError;
    private string? _writeErrorReason;
    private volatile int _unsynced;
    private volatile bool _closed;

    /// <param name="file">the bytes; the disk's from now on</param>
    /// <param name="readOnly">whether changes are refused</param>
    /// <param name="discard">whether discards give space back</param>
    /// <param name="report">told of a broken invariant; failed syncs are told to flushes</param>
    public RawDisk(IBlockStorage file, bool readOnly, DiscardMode discard = DiscardMode.Unmap, Action<string>? report = null)
    {
        _report = report;
        Epochs.Broken = breach => Stop(breach);
        _file = file;
        _discard = discard;
        _turns = new WriteTurns(Epochs);
        ReadOnly = readOnly;
        _sparse = file.AllocatedBytes < file.Length;
        Size = Rounding.Up(file.Length, 512);
    }

    public long Size { get; }

    public long ClusterBytes => 4096;

    public long TurnBytes => 1L << 30;

    public bool TurnsMayGrow => true;

    public bool ReadOnly { get; }

    public RequestEpochs Epochs { get; } = new();

    public IBlockStorage File => _file;

    public string? WriteErrorReason => Volatile.Read(ref _writeErrorReason);

    public bool TryMapRead(long offset, int length, out FileExtent extent)
    {
        // A read that ends past the file is short; the careful way fills it up.
        extent = new FileExtent(_file, offset, _sparse);
        return !_closed && offset + length <= _file.Length;
    }

    public bool TryMapZeroes(long offset, int length) => false;

    public bool TryMapWrite(long offset, int length, out FileExtent extent)
    {
        extent = new FileExtent(_file, offset);
        return !ReadOnly && !_closed && _writeError == 0 && !_turns.IsExclusive && IsAligned(offset, length);
    }

    public void NoteDirectWrite() => _unsynced = 1;

    public async LoopTask<int> ReadAsync(long offset, NativeBuffer buffer)
    {
        if (CheckRange(offset, buffer.Length) is var refusal and < 0)
            return refusal;
        _requests.Begin();
        int error;
        try
        {
            error = await _file.ReadAsync(offset, buffer);
        }
        catch (InvariantBreach breach)
        {
            error = Stop(breach);
        }

        _requests.End();
        return error;
    }

    public async LoopTask<int> WriteAsync(long offset, NativeBuffer buffer, bool forceUnitAccess)
    {
        if (RefuseChange(offset, buffer.Length) is var refusal and < 0)
            return refusal;
        int error;
        _requests.Begin();
        try
        {
            error = IsAligned(offset, buffer.Length) ? await WriteAlignedAsync(offset, buffer) : await WriteUnalignedAsync(offset, buffer);
        }
        catch (InvariantBreach breach)
        {
            error = Stop(breach);
        }

        NoteDirectWrite();
        _requests.End();
        return error == 0 && forceUnitAccess ? await FlushAsync() : error;
    }

    public async LoopTask<int> WriteZeroesAsync(long offset, long length, ZeroFlags flags)
    {
        if (RefuseChange(offset, length) is var refusal and < 0)
            return refusal;
        var fast = (flags & ZeroFlags.Fast) != 0;
        int error;
        _requests.Begin();
        try
        {
            // A client may ask for nothing; no file takes that.
            if (length == 0)
                error = 0;
            else if (IsAligned(offset, length))
                error = await ZeroSectorsAsync(offset, length, flags);
            else
                error = fast ? -Errno.EOPNOTSUPP : await ZeroUnalignedAsync(offset, length, flags);
        }
        catch (InvariantBreach breach)
        {
            error = Stop(breach);
        }

        NoteDirectWrite();
        _requests.End();
        return error == 0 && (flags & ZeroFlags.ForceUnitAccess) != 0 ? await FlushAsync() : error;
    }

    public async LoopTask<int> DiscardAsync(long offset, long length)
    {
        if (RefuseChange(offset, length) is var refusal and < 0)
            return refusal;

        // Only whole sectors can be dropped; a discard may leave the rest alone.
        var start = Rounding.Up(offset, _file.OffsetAlignment);
        var end = Rounding.Down(offset + length, _file.OffsetAlignment);
        if (_discard == DiscardMode.Ignore || end <= start)
            return 0;
        _requests.Begin();
        int error;
        try
        {
            error = await PunchAsync(start, end - start);
        }
        catch (InvariantBreach breach)
        {
            error = Stop(breach);
        }

        NoteDirectWrite();
        _requests.End();
        return error == -Errno.EOPNOTSUPP ? 0 : error;
    }

    public LoopTask<int> FlushAsync() => _closed ? new LoopTask<int>(-Errno.ESHUTDOWN) : SyncAsync();

    private async LoopTask<int> SyncAsync()
    {
        // One at a time: the kernel tells a failed writeback to one sync only. Of two that run together the other would be told
        // that all is well, and what a flush under way has taken on is only safe when that one has ended.
        _requests.Begin();
        await _flush.EnterAsync();

        // After a failed sync nothing can be promised: the kernel may have dropped what it could not write. As
        // ImageContext.SyncFailed: for ever, whatever the disk said.
        try
        {
            if (_writeError == 0 && _unsynced != 0)
            {
                _unsynced = 0;
                if (await _file.FlushAsync() is var error and < 0)
                    TryStop($"sync of {_file.Path} failed: {Errno.Text(error)}; what was written since the last flush may be lost");
            }
        }
        catch (InvariantBreach breach)
        {
            Stop(breach);
        }

        _flush.Exit();
        _requests.End();
        return _writeError;
    }

    private bool TryStop(string reason)
    {
        if (Interlocked.CompareExchange(ref _writeErrorReason, reason, null) is not null)
            return false;
        _writeError = -Errno.EIO;
        return true;
    }

    /// <summary>As <c>ImageContext.Stop</c>. Any loop.</summary>
    private int Stop(InvariantBreach breach)
    {
        var reason = $"{_file.Path} takes no more writes: qcow2blk broke a rule of its own: {breach.Message}; report this bug";
        if (TryStop(reason))
            _report?.Invoke(reason);
        return -Errno.EIO;
    }

    public LoopTask<DiskExtent> MapAsync(long offset, long length)
    {
        if (CheckRange(offset, length) is var refusal && (refusal < 0 || length == 0))
            return new LoopTask<DiskExtent>(new DiskExtent(refusal < 0 ? refusal : -Errno.EINVAL, 0, false, false, 0));
        var range = _file.FindRange(offset);
        return new LoopTask<DiskExtent>(
            new DiskExtent(0, Math.Min(length, range.End - offset), range.IsHole, range.IsHole, Depth: 1) { Seeks = range.Seeks });
    }

    public LoopTask<int> PrefetchAsync(long offset, long length) => new(CheckRange(offset, length));

    public async LoopTask<int> CloseAsync()
    {
        if (_closed)
            return -Errno.ESHUTDOWN;
        _closed = true;

        // A submission that is only prepared names the file by its number, which another file may have once this is closed.
        await _requests.WaitForEndAsync();
        await Epochs.WaitForQuietAsync();
        var error = ReadOnly ? 0 : await SyncAsync();
        _file.Dispose();
        return error;
    }

    /// <summary>Why the disk cannot have this size; null if it can.</summary>
    /// <param name="size">bytes, a multiple of 512</param>
    /// <param name="mayShrink">whether what a smaller disk loses is meant to be lost</param>
    public EditAnswer? RefuseSize(long size, bool mayShrink)
    {
        if (_file.HasFixedLength)
            return EditAnswer.Refused(EditResult.Failed, "it is on a block device, which has the size that it has");
        return size < Size && !mayShrink ? DiskSize.NotToShrink(Size, size) : null;
    }

    /// <summary>Makes the file longer or shorter. Nobody uses the disk, and afterwards it can only be closed.</summary>
    /// <param name="size">bytes, a multiple of 512; not refused</param>
    public async LoopTask<EditAnswer> ResizeAsync(long size)
    {
        var error = RefuseChange(0, 0);
        if (error == 0)
            error = await _file.SetLengthAsync(size);
        NoteDirectWrite();
        if (error == 0)
            error = await SyncAsync();
        return error == 0 ? EditAnswer.Done : EditAnswer.OfErrno(error, "cannot change the length of the file");
    }

    private int RefuseChange(long offset, long length)
    {
        if (CheckRange(offset, length) is var refusal and < 0)
            return refusal;
        return ReadOnly ? -Errno.EPERM : _writeError;
    }

    private int CheckRange(long offset, long length)
    {
        if (_closed)
            return -Errno.ESHUTDOWN;
        return offset < 0 || length < 0 || offset > Size - length ? -Errno.EINVAL : 0;
    }

    private bool IsAligned(long offset, long length) => ((offset | length) & (_file.OffsetAlignment - 1)) == 0;

    private async LoopTask<int> WriteAlignedAsync(long offset, NativeBuffer buffer)
    {
        var change = await _turns.BeginChangeAsync();
        try
        {
            return await _file.WriteAsync(offset, buffer);
        }
        finally
        {
            _turns.EndChange(change);
        }
    }

    private async LoopTask<int> PunchAsync(long offset, long length)
    {
        var change = await _turns.BeginChangeAsync();
        try
        {
            return await _file.PunchAsync(offset, length);
        }
        finally
        {
            _turns.EndChange(change);
        }
    }

    private async LoopTask<int> ZeroSectorsAsync(long offset, long length, ZeroFlags flags)
    {
        var change = await _turns.BeginChangeAsync();
        try
        {
            var error = (flags & ZeroFlags.MayUnmap) != 0 && _discard == DiscardMode.Unmap
                ? await _file.PunchAsync(offset, length)
                : -Errno.EOPNOTSUPP;
            if (error == -Errno.EOPNOTSUPP && (flags & ZeroFlags.Fast) == 0)
                error = await _file.ZeroAsync(offset, length);
            return error;
        }
        finally
        {
            _turns.EndChange(change);
        }
    }

    /// <summary>Only the parts of sectors at both ends are written as data, however long the range is.</summary>
    private async LoopTask<int> ZeroUnalignedAsync(long offset, long length, ZeroFlags flags)
    {
        var start = Rounding.Up(offset, _file.OffsetAlignment);
        var end = Rounding.Down(offset + length, _file.OffsetAlignment);
        if (start >= end)
            return await WriteZeroDataAsync(offset, length);
        var error = start == offset ? 0 : await WriteZeroDataAsync(offset, start - offset);
        if (error == 0)
            error = await ZeroSectorsAsync(start, end - start, flags);
        return error < 0 || end == offset + length ? error : await WriteZeroDataAsync(end, offset + length - end);
    }

    private async LoopTask<int> WriteZeroDataAsync(long offset, long length)
    {
        var pool = LoopScheduler.Current.Buffers;
        var zeroes = pool.Rent((int)Math.Min(length, 256 * 1024));
        zeroes.Clear();
        var error = 0;
        while (length > 0 && error == 0)
        {
            var piece = zeroes.Slice(0, (int)Math.Min(length, zeroes.Length));
            error = await WriteAsync(offset, piece, forceUnitAccess: false);
            offset += piece.Length;
            length -= piece.Length;
        }

        pool.Return(zeroes);
        return error;
    }

    /// <summary>As <c>Qcow2Image.WriteUnalignedAsync</c>: read, modify, write, with all other changes shut out.</summary>
    private async LoopTask<int> WriteUnalignedAsync(long offset, NativeBuffer buffer)
    {
        await _turns.BeginExclusiveAsync();
        var alignment = _file.OffsetAlignment;
        var start = Rounding.Down(offset, alignment);
        var end = Rounding.Up(offset + buffer.Length, alignment);
        var pool = LoopScheduler.Current.Buffers;
        var sectors = pool.Rent(checked((int)(end - start)));
        try
        {
            var error = await _file.ReadAsync(start, sectors);
            if (error == 0)
            {
                buffer.Span.CopyTo(sectors.Span[(int)(offset - start)..]);
                error = await _file.WriteAsync(start, sectors);
            }

            return error;
        }
        finally
        {
            pool.Return(sectors);
            _turns.EndExclusive();
        }
    }
}
