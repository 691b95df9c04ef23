using System;
using Qcow2Blk.Buffers;
using Qcow2Blk.Image;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Embedding;

/// <summary>What each kind of request means for the disk. Runs on the loop.</summary>
internal sealed partial class ImageRequest
{
    private async LoopTask<int> ExecuteAsync(IDisk disk)
    {
        var forceUnitAccess = _shape.Has(RequestFlags.ForceUnitAccess);
        switch (_shape.Kind)
        {
            case RequestKind.Read or RequestKind.Write when _shape.Length <= LargestPiece && _pieceCount == 0:
                var whole = new NativeBuffer(_shape.Address, (int)_shape.Length);
                return _shape.Kind == RequestKind.Read
                    ? await disk.ReadAsync(_shape.Offset, whole)
                    : await disk.WriteAsync(_shape.Offset, whole, forceUnitAccess);
            case RequestKind.Read or RequestKind.Write when _pieceCount > 0 && _shape.Length <= LargestGathered:
                return await TransferGatheredAsync(disk, isWrite: _shape.Kind == RequestKind.Write);
            case RequestKind.Read:
                return await TransferAsync(disk, isWrite: false);
            case RequestKind.Write:
                var written = await TransferAsync(disk, isWrite: true);
                return written == 0 && forceUnitAccess ? await disk.FlushAsync() : written;
            case RequestKind.Flush:
                return await disk.FlushAsync();
            case RequestKind.Discard:
                return await _long.DiscardAsync(disk, _shape.Offset, _shape.Length, forceUnitAccess);
            case RequestKind.WriteZeroes:
                return await _long.WriteZeroesAsync(disk, _shape.Offset, _shape.Length, ZeroFlagsOf());
            default:
                return await CollectAsync(disk);
        }
    }

    private ZeroFlags ZeroFlagsOf()
    {
        var flags = _shape.Has(RequestFlags.NoHole) ? ZeroFlags.None : ZeroFlags.MayUnmap;
        if (_shape.Has(RequestFlags.FastZero))
            flags |= ZeroFlags.Fast;
        return _shape.Has(RequestFlags.ForceUnitAccess) ? flags | ZeroFlags.ForceUnitAccess : flags;
    }

    /// <summary>Moves what lies in several places as one: small pieces by themselves would be a transfer each.</summary>
    private async LoopTask<int> TransferGatheredAsync(IDisk disk, bool isWrite)
    {
        var pool = _image.Loop.Buffers;
        var whole = pool.Rent((int)_shape.Length);
        if (isWrite)
            MemoryPieces.Gather(_pieces.AsSpan(0, _pieceCount), whole.Span);
        var error = isWrite
            ? await disk.WriteAsync(_shape.Offset, whole, _shape.Has(RequestFlags.ForceUnitAccess))
            : await disk.ReadAsync(_shape.Offset, whole);
        if (!isWrite && error == 0)
            MemoryPieces.Scatter(whole.Span, _pieces.AsSpan(0, _pieceCount));
        pool.Return(whole);
        return error;
    }

    /// <summary>Moves what is large: side by side, but not more at a time than one large piece.</summary>
    private async LoopTask<int> TransferAsync(IDisk disk, bool isWrite)
    {
        var group = TaskGroup.Rent();
        var offset = _shape.Offset;
        var atOnce = 0L;
        for (var i = 0; i < Math.Max(_pieceCount, 1); i++)
        {
            var (address, left) = _pieceCount == 0 ? (_shape.Address, _shape.Length) : (_pieces[i].Address, (long)_pieces[i].Length);
            while (left > 0)
            {
                var buffer = new NativeBuffer(address, (int)Math.Min(left, LargestPiece));
                group.Add(isWrite ? disk.WriteAsync(offset, buffer, forceUnitAccess: false) : disk.ReadAsync(offset, buffer));
                address += buffer.Length;
                left -= buffer.Length;
                offset += buffer.Length;
                atOnce += buffer.Length;
                if (atOnce < LargestPiece)
                    continue;
                if (await group.WaitAsync() is var error and < 0)
                    return error;
                group = TaskGroup.Rent();
                atOnce = 0;
            }
        }

        return await group.WaitAsync();
    }

    private async LoopTask<int> CollectAsync(IDisk disk)
    {
        var offset = _shape.Offset;
        var end = offset + _shape.Length;
        while (offset < end && _count < _shape.Extents)
        {
            var extent = await disk.MapAsync(offset, end - offset);
            if (extent.Error < 0)
                return extent.Error;
            var flags = (extent.IsHole ? StatusExtent.Hole : 0) | (extent.IsZero ? StatusExtent.Zero : 0);
            Store(new StatusExtent((ulong)offset, (ulong)extent.Length, flags, (uint)extent.Depth));
            offset += extent.Length;
        }

        return 0;
    }

    private unsafe void Store(StatusExtent extent) => ((StatusExtent*)_shape.Address)[_count++] = extent;
}
