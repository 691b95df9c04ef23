using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Linq;

namespace Qcow2Blk.Format;

/// <summary>
/// The extension in the first sector, where the fields of the header are: then one write of that sector can make another directory the
/// image's, together with another snapshot table or L1 table.
/// </summary>
internal sealed partial class BitmapsExtensionEdit
{
    /// <param name="cluster">the whole first cluster of a version 3 image</param>
    /// <param name="extension">what the extension shall say if there is none yet: nobody believes it</param>
    /// <param name="path">of the image, for messages</param>
    /// <returns>as for <see cref="Plan"/>; afterwards <see cref="DataInFirstSector"/> finds it</returns>
    /// <exception cref="ImageFormatException">the first sector has no room for it, or the header is damaged</exception>
    public static IReadOnlyList<byte[]> PlanRoom(ReadOnlySpan<byte> cluster, BitmapsExtension extension, string path)
    {
        var edit = new BitmapsExtensionEdit(cluster, path);
        if (edit._header.Scan(out _).All(found => found.Type != HeaderExtension.Bitmaps))
        {
            edit.Trust(false);
            edit._header.Append(HeaderExtension.Bitmaps, What, extension.Encode());
        }

        edit.MoveToFront();
        return edit._header.Steps;
    }

    /// <summary>Where the extension's data is, if it is in the first sector.</summary>
    /// <returns>null if it is not there</returns>
    public static int? DataInFirstSector(ReadOnlySpan<byte> sector)
    {
        var found = new List<HeaderExtension>();
        var start = (int)BinaryPrimitives.ReadUInt32BigEndian(sector[HeaderField.HeaderLength..]);

        // What ends behind the sector is wrong only in what is cut off here.
        _ = HeaderExtension.Scan(sector[..Sector], start, Sector, found);
        return found.Find(extension => extension.Type == HeaderExtension.Bitmaps) is { Data.Length: BitmapsExtension.Length } present
            ? present.Offset + HeaderExtension.PrefixLength
            : null;
    }

    /// <summary>
    /// Puts the extension before the others. While these are written again behind it, the header is without the names of features,
    /// which are for people.
    /// </summary>
    private void MoveToFront()
    {
        var found = _header.Scan(out var end);
        var present = found.Single(extension => extension.Type == HeaderExtension.Bitmaps);
        if (present.Data.Length != BitmapsExtension.Length)
            throw _header.Bad($"bitmaps extension has {present.Data.Length} bytes, must have {BitmapsExtension.Length}");
        if (present.Offset + WholeLength <= Sector)
            return;
        if (!TryRewrite(found[0].Offset, end, [present, .. found.Where(extension => extension != present)]))
            throw _header.Bad("the first sector of the header has no room for the bitmaps extension");
    }

    /// <summary>Writes extensions anew where they reach behind the first sector: what is left over becomes end markers.</summary>
    /// <returns>false if those that matter do not fit into that sector for the time</returns>
    private bool TryRewrite(int start, int end, IReadOnlyList<HeaderExtension> order)
    {
        var whole = Join(order);
        var rest = Join(order.Where(extension => extension.Type != HeaderExtension.FeatureNameTable));
        if (end <= Sector || start + rest.Length + HeaderExtension.PrefixLength > Sector)
            return false;
        whole = [.. whole, .. new byte[end - start - whole.Length]];
        _header.Write(start, [.. rest, .. new byte[Sector - start - rest.Length]]);
        _header.Write(Sector, whole[(Sector - start)..]);
        _header.Write(start, whole[..(Sector - start)]);
        return true;
    }

    private static byte[] Join(IEnumerable<HeaderExtension> extensions)
    {
        var bytes = new List<byte>();
        foreach (var extension in extensions)
        {
            var prefix = new byte[HeaderExtension.PrefixLength];
            BinaryPrimitives.WriteUInt32BigEndian(prefix, extension.Type);
            BinaryPrimitives.WriteInt32BigEndian(prefix.AsSpan(4), extension.Data.Length);
            bytes.AddRange(prefix);
            bytes.AddRange(extension.Data);
            bytes.AddRange(new byte[((extension.Data.Length + 7) & ~7) - extension.Data.Length]);
        }

        return [.. bytes];
    }
}
