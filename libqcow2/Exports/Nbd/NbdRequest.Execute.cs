using System;
using Qcow2Blk.Image;
using Qcow2Blk.Interop;
using Qcow2Blk.Protocol;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>What each command means for the disk. Runs on the home loop.</summary>
internal sealed partial class NbdRequest
{
    // Below this, saying that it is a hole costs more than sending the zeroes.
    private const int SmallestHole = 4096;

    private async LoopTask<int> ExecuteAsync(IDisk disk)
    {
        var forceUnitAccess = Header.Has(CommandFlags.Fua);
        var length = (long)Header.Length;
        if ((forceUnitAccess || Header.Command == NbdCommand.Flush) && Connection.Flushes.TakeLoss() is var lost and < 0)
            return lost;
        switch (Header.Command)
        {
            case NbdCommand.Read:
                return await ReadAsync(disk);
            case NbdCommand.Write:
                return await disk.WriteAsync(Offset, Buffer, forceUnitAccess);
            case NbdCommand.WriteZeroes:
                return await Long.WriteZeroesAsync(disk, Offset, length, ZeroFlagsOf());
            case NbdCommand.Trim:
                return await Long.DiscardAsync(disk, Offset, length, forceUnitAccess);
            case NbdCommand.Flush:
                return await disk.FlushAsync();
            case NbdCommand.Cache:
                return length == 0 ? 0 : await disk.PrefetchAsync(Offset, length);
            case NbdCommand.BlockStatus:
                return await Connection.Status.CollectAsync(disk, this);
            default:
                return -Errno.EINVAL;
        }
    }

    private ZeroFlags ZeroFlagsOf()
    {
        var flags = Header.Has(CommandFlags.NoHole) ? ZeroFlags.None : ZeroFlags.MayUnmap;
        if (Header.Has(CommandFlags.FastZero))
            flags |= ZeroFlags.Fast;
        return Header.Has(CommandFlags.Fua) ? flags | ZeroFlags.ForceUnitAccess : flags;
    }

    private async LoopTask<int> ReadAsync(IDisk disk)
    {
        Pieces.Clear();
        if (!Connection.SendsHoles || Header.Has(CommandFlags.Df) || Buffer.Length < SmallestHole)
            return await disk.ReadAsync(Offset, Buffer);
        var group = TaskGroup.Rent();
        var error = 0;
        for (var position = 0; position < Buffer.Length && error == 0;)
        {
            var rest = Buffer.Length - position;

            // The last piece takes all that is left, holes or not.
            var extent = Pieces.Count == MaximumPieces - 1
                ? new DiskExtent(0, rest, IsHole: false, IsZero: false, Depth: 1)
                : await disk.MapAsync(Offset + position, rest);
            error = extent.Error;
            var length = (int)extent.Length;
            var isHole = extent.IsZero && length >= Math.Min(SmallestHole, Buffer.Length);
            if (error == 0 && !isHole)
                group.Add(disk.ReadAsync(Offset + position, Buffer.Slice(position, length)));
            if (error == 0)
                AddPiece(position, length, isHole);
            position += length;
        }

        // Whatever happened, nothing may write into the buffer any more when this returns.
        var result = await group.WaitAsync();
        return error < 0 ? error : result;
    }

    private void AddPiece(int start, int length, bool isHole)
    {
        if (Pieces.Count > 0 && Pieces[^1] is var last && last.IsHole == isHole)
            Pieces[^1] = last with { Length = last.Length + length };
        else
            Pieces.Add(new ReadPiece(start, length, isHole));
    }
}
