using System;
using System.Collections.Generic;
using Qcow2Blk.Format;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Inspect;

/// <summary>
/// Walks a virtual disk from its first to its last byte and tells for each range which image of the chain decides what
/// it holds, by the rules of <c>qemu-img map</c>.
/// </summary>
internal sealed class ChainMap
{
    private readonly InspectedChain _chain;
    private readonly MappedImage?[] _maps;

    // How far each image is known to hold nothing: it is asked once, however many pieces the images below break a range into.
    private readonly long[] _emptyTo;

    /// <exception cref="ImageFormatException">an image cannot be mapped</exception>
    public ChainMap(InspectedChain chain)
    {
        ArgumentNullException.ThrowIfNull(chain);
        if (chain.Broken is not null)
            throw chain.Broken;
        _chain = chain;
        _maps = new MappedImage?[chain.Images.Count];
        _emptyTo = new long[_maps.Length];
        for (var depth = 0; depth < _maps.Length; depth++)
        {
            var image = chain.Images[depth];
            _maps[depth] = image.Header is null ? null : new MappedImage(image.File, image.Header);
        }
    }

    /// <summary>All of the disk, neighbours of one kind joined.</summary>
    public IEnumerable<MapExtent> Extents()
    {
        var size = _chain.Images[0].DiskSize;
        MapExtent? pending = null;
        Array.Clear(_emptyTo);
        for (long offset = 0; offset < size;)
        {
            var next = At(offset, size - offset);
            offset = next.End;
            if (pending is { } before && before.Continues(next))
            {
                pending = before with { Length = before.Length + next.Length };
                continue;
            }

            if (pending is { } done)
                yield return done;
            pending = next;
        }

        if (pending is { } last)
            yield return last;
    }

    private MapExtent At(long offset, long limit)
    {
        for (var depth = 0; ; depth++)
        {
            var image = _chain.Images[depth];
            limit = Math.Min(limit, image.DiskSize - offset);
            if (_maps[depth] is not { } map)
                return Raw(image, depth, offset, limit);
            if (offset >= _emptyTo[depth])
            {
                var piece = map.Lookup(new GuestOffset(offset), limit);
                if (piece.Kind != L2Kind.Unallocated)
                    return Present(piece, depth, offset, image);
                _emptyTo[depth] = offset + piece.Length;
            }

            limit = Math.Min(limit, _emptyTo[depth] - offset);
            // Nothing below: not here, or only before this offset.
            if (depth + 1 == _maps.Length || offset >= _chain.Images[depth + 1].DiskSize)
                return new MapExtent(offset, limit, depth, Present: false, Zero: true, Data: false, Compressed: false, Offset: null);
        }
    }

    private static MapExtent Present(in MappedPiece piece, int depth, long offset, InspectedImage image)
    {
        var zero = piece.Kind is L2Kind.Zero or L2Kind.ZeroAllocated;
        var placed = piece.Kind is L2Kind.Data or L2Kind.ZeroAllocated && image.Header!.CryptMethod == 0;
        var (host, length) = (piece.Host, piece.Length);
        var hole = false;
        if (placed && !zero && image.LeavesHoles)
        {
            var range = image.File.FindRange(host);
            (hole, length) = (range.IsHole, Math.Min(length, range.End - host));
        }

        return new MapExtent(offset, length, depth, Present: true, zero || hole, Data: !zero, piece.Kind == L2Kind.Compressed, placed
            ? host : null);
    }

    private static MapExtent Raw(InspectedImage image, int depth, long offset, long limit)
    {
        var range = image.File.FindRange(offset);
        return new MapExtent(offset, Math.Min(limit, range.End - offset), depth, Present: true, Zero: range.IsHole, Data: !range.IsHole,
            Compressed: false, offset);
    }
}
