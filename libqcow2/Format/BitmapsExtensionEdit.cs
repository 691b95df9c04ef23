using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Linq;

namespace Qcow2Blk.Format;

/// <summary>
/// How the bitmaps extension of a header is made, changed and removed without a moment at which the header is wrong: a disk writes a
/// sector wholly or not at all, and several in any order.
/// </summary>
/// <remarks>
/// Each step changes what means nothing yet, or one sector. Whatever part of a step is there, the header says what it said before the
/// step or what it says after it. Where neither will do, the autoclear bit is cleared first, so that nobody believes the extension.
/// </remarks>
internal sealed partial class BitmapsExtensionEdit
{
    private const int Sector = 512;
    private const int WholeLength = HeaderExtension.PrefixLength + BitmapsExtension.Length;

    private readonly List<byte[]> _steps = [];
    private readonly string _path;
    private byte[] _now;

    private BitmapsExtensionEdit(ReadOnlySpan<byte> cluster, string path) => (_now, _path) = (cluster.ToArray(), path);

    /// <param name="cluster">the whole first cluster of a version 3 image</param>
    /// <param name="extension">what it shall say; null for no bitmaps</param>
    /// <param name="path">of the image, for messages</param>
    /// <returns>what the cluster is to hold, one after the other, each on disk before the next is begun</returns>
    /// <exception cref="ImageFormatException">the header has no room for it, or is damaged</exception>
    public static IReadOnlyList<byte[]> Plan(ReadOnlySpan<byte> cluster, BitmapsExtension? extension, string path)
    {
        var edit = new BitmapsExtensionEdit(cluster, path);
        if (extension is null)
            edit.Remove();
        else
            edit.Set(extension.Encode());
        return edit._steps;
    }

    private bool IsTrusted => ((AutoclearFeatures)U64(HeaderField.AutoclearFeatures)).HasFlag(AutoclearFeatures.Bitmaps);

    private int BackingOffset => (int)U64(HeaderField.BackingFileOffset);

    private int BackingLength => (int)U32(HeaderField.BackingFileSize);

    private void Set(byte[] data)
    {
        var found = Scan(out var end);
        if (found.Find(extension => extension.Type == HeaderExtension.Bitmaps) is not { } present)
        {
            Trust(false);
            Insert(data, end);
        }
        else if (present.Data.Length != BitmapsExtension.Length)
        {
            throw Bad($"bitmaps extension has {present.Data.Length} bytes, must have {BitmapsExtension.Length}");
        }
        else
        {
            var offset = present.Offset + HeaderExtension.PrefixLength;
            if (!IsInOneSector(offset, data.Length))
                Trust(false);
            Write(offset, data);
        }

        Trust(true);
    }

    private void Remove()
    {
        Trust(false);
        var found = Scan(out var end);
        var index = found.FindIndex(extension => extension.Type == HeaderExtension.Bitmaps);
        if (index < 0)
            return;
        var offset = found[index].Offset;
        var next = index + 1 < found.Count ? found[index + 1].Offset : end;

        // What follows it and reaches far into another sector cannot be moved up. Without the bit, the extension means nothing.
        if (next == end)
            Write(offset, new byte[next - offset]);
        else if (IsInOneSector(offset, end - offset))
            Write(offset, [.. _now.AsSpan(next, end - next), .. new byte[next - offset]]);
        else
            _ = TryRewrite(found[0].Offset, end, [.. found.Where(extension => extension.Type != HeaderExtension.Bitmaps)]);
    }

    /// <summary>Adds the extension behind the others, where the end marker is.</summary>
    private void Insert(byte[] data, int end)
    {
        var newEnd = end + WholeLength + HeaderExtension.PrefixLength;
        var hasMarker = end + HeaderExtension.PrefixLength <= (BackingOffset != 0 ? BackingOffset : _now.Length);
        if (!hasMarker || newEnd > _now.Length)
            throw NoRoom();
        if (BackingOffset != 0 && BackingOffset < newEnd)
            MoveBackingName(newEnd);
        var added = new byte[newEnd - end];
        BinaryPrimitives.WriteUInt32BigEndian(added, HeaderExtension.Bitmaps);
        BinaryPrimitives.WriteInt32BigEndian(added.AsSpan(4), data.Length);
        data.CopyTo(added.AsSpan(HeaderExtension.PrefixLength));

        // Until the sector with the end marker is written, nothing behind it means anything.
        var here = Math.Min(added.Length, Sector - (end % Sector));
        Write(end + here, added[here..]);
        Write(end, added[..here]);
    }

    private void MoveBackingName(int newEnd)
    {
        var (offset, length) = (BackingOffset, BackingLength);
        var place = (Math.Max(newEnd, offset + length) + 7) & ~7;
        if (place + length > _now.Length)
            throw NoRoom();
        Write(place, _now.AsSpan(offset, length).ToArray());
        var field = new byte[sizeof(ulong)];
        BinaryPrimitives.WriteInt64BigEndian(field, place);
        Write(HeaderField.BackingFileOffset, field);
    }

    private void Trust(bool isTrusted)
    {
        if (IsTrusted == isTrusted)
            return;
        var field = new byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64BigEndian(field, U64(HeaderField.AutoclearFeatures) ^ (ulong)AutoclearFeatures.Bitmaps);
        Write(HeaderField.AutoclearFeatures, field);
    }

    private void Write(int offset, byte[] bytes)
    {
        if (_now.AsSpan(offset, bytes.Length).SequenceEqual(bytes))
            return;
        _now = (byte[])_now.Clone();
        bytes.CopyTo(_now.AsSpan(offset));
        _steps.Add(_now);
    }

    /// <param name="end">where the end marker is, or would be</param>
    private List<HeaderExtension> Scan(out int end)
    {
        var found = new List<HeaderExtension>();
        end = (int)U32(HeaderField.HeaderLength);
        if (HeaderExtension.Scan(_now, end, BackingOffset != 0 ? BackingOffset : _now.Length, found) is { } wrong)
            throw Bad(wrong);
        if (found.Count > 0)
            end = found[^1].Offset + HeaderExtension.PrefixLength + ((found[^1].Data.Length + 7) & ~7);
        return found;
    }

    private static bool IsInOneSector(int offset, int length) => offset / Sector == (offset + length - 1) / Sector;

    private ulong U64(int field) => BinaryPrimitives.ReadUInt64BigEndian(_now.AsSpan(field));

    private uint U32(int field) => BinaryPrimitives.ReadUInt32BigEndian(_now.AsSpan(field));

    private ImageFormatException NoRoom() =>
        Bad($"the header has no room for the bitmaps extension in its cluster of {_now.Length} bytes");

    private ImageFormatException Bad(string why) => new(_path, "header_extension", why);
}
