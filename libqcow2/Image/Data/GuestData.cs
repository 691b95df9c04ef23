using System;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Map;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Data;

/// <summary>
/// The only mover of guest bytes on the home loop: reads the disk through the chain, and reads and writes host clusters. Other
/// loops move what <see cref="GuestMap"/> maps to one piece of a file themselves.
/// </summary>
internal sealed class GuestData : IDisposable
{
    private readonly ImageContext _context;
    private readonly Geometry _geometry;
    private readonly GuestMap _map;

    // Of this image and of those below it, the top first.
    private readonly GuestData[] _layers;

    /// <param name="context">the image</param>
    /// <param name="map">where its guest clusters are</param>
    /// <param name="below">of the backing image, if that is a qcow2 image</param>
    public GuestData(ImageContext context, GuestMap map, GuestData? below)
    {
        _context = context;
        _geometry = context.Geometry;
        _map = map;
        Compressed = new CompressedClusters(context);
        _layers = [this, .. below?._layers ?? []];
    }

    public CompressedClusters Compressed { get; }

    /// <summary>What offset and length of a write must be a multiple of. A power of two.</summary>
    public int Alignment => _context.Data.OffsetAlignment;

    /// <summary>Reads a range of the disk.</summary>
    public async LoopTask<int> ReadAsync(GuestOffset offset, NativeBuffer buffer)
    {
        var parity = _context.Epochs.Enter(0);
        var group = TaskGroup.Rent();
        var walk = ChainWalk.Rent(_map.Layers);
        var error = 0;
        try
        {
            while (!buffer.IsEmpty)
            {
                var found = await _map.LocateAsync(offset, buffer.Length, walk);
                if (found.Error < 0)
                {
                    error = found.Error;
                    break;
                }

                var done = StartRead(found, offset, buffer.Slice(0, (int)found.Length), group);
                offset += done;
                buffer = buffer.Slice(done);
            }
        }
        catch (InvariantBreach breach)
        {
            error = _context.Stop(breach);
        }

        // Whatever happened, nothing may write into the caller's buffer any more when this returns.
        var result = await group.WaitAsync();
        walk.Return();
        _context.Epochs.Exit(0, parity);
        return error < 0 ? error : result;
    }

    /// <summary>Writes to host clusters that belong to the guest.</summary>
    public LoopTask<int> WriteHostAsync(HostOffset host, NativeBuffer buffer) => _context.Data.WriteAsync(host.Value, buffer);

    /// <summary>Makes a piece of host clusters that belong to the guest read as zeroes.</summary>
    public LoopTask<int> ZeroHostAsync(HostOffset host, long length) => _context.Data.ZeroAsync(host.Value, length);

    public void Dispose() => Compressed.Dispose();

    /// <summary>Starts reading what one layer holds.</summary>
    /// <returns>how many bytes that covers</returns>
    private int StartRead(in Layer found, GuestOffset offset, NativeBuffer buffer, TaskGroup group)
    {
        if (found.Map is not null)
            return _layers[found.Depth - 1].StartReadOwn(found, offset, buffer, group);
        if (found.Disk is { } disk)
            group.Add(disk.ReadAsync(offset.Value, buffer));
        else
            buffer.Clear();
        return buffer.Length;
    }

    /// <summary>Starts reading one piece of this image. Nothing is awaited before: the slice is where it was found.</summary>
    /// <returns>how many bytes it covers</returns>
    private int StartReadOwn(in Layer found, GuestOffset offset, NativeBuffer buffer, TaskGroup group)
    {
        var piece = _map.At(found.Slot, offset, buffer.Length);
        var length = (int)piece.Length;
        buffer = buffer.Slice(0, length);
        switch (piece.Kind)
        {
            case L2Kind.Data:
                group.Add(_context.Data.ReadGuestAsync(piece.Host.Value, offset.Value, buffer));
                break;
            case L2Kind.Compressed:
                group.Add(Compressed.ReadAsync(piece.Host, piece.CompressedLength, (int)_geometry.Within(offset), buffer));
                break;
            case L2Kind.Zero or L2Kind.ZeroAllocated:
                buffer.Clear();
                break;
            default:
                group.Add(new LoopTask<int>(_map.Invalid(offset, piece)));
                break;
        }

        return length;
    }
}
