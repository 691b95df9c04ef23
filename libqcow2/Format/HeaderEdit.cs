using System;
using System.Buffers.Binary;
using System.Collections.Generic;

namespace Qcow2Blk.Format;

/// <summary>
/// The first cluster of a version 3 image, changed in steps without a moment at which the header is wrong: a disk writes a sector wholly
/// or not at all, and several in any order.
/// </summary>
/// <remarks>
/// Each step changes what means nothing yet, or one sector. Whatever part of a step is there, the header says what it said before the
/// step or what it says after it.
/// </remarks>
/// <param name="cluster">all of it, as it is</param>
/// <param name="path">of the image, for messages</param>
internal sealed class HeaderEdit(ReadOnlySpan<byte> cluster, string path)
{
    /// <summary>Bytes that a disk writes wholly or not at all.</summary>
    public const int Sector = 512;

    private readonly List<byte[]> _steps = [];
    private byte[] _now = cluster.ToArray();

    /// <summary>What the cluster is to hold, one after the other, each on disk before the next is begun.</summary>
    public IReadOnlyList<byte[]> Steps => _steps;

    /// <summary>What the cluster holds after the steps so far.</summary>
    public ReadOnlySpan<byte> Now => _now;

    private int BackingOffset => (int)U64(HeaderField.BackingFileOffset);

    private int BackingLength => (int)U32(HeaderField.BackingFileSize);

    /// <param name="offset">where the bytes go</param>
    /// <param name="bytes">in one sector, or where they mean nothing yet</param>
    public void Write(int offset, ReadOnlySpan<byte> bytes)
    {
        if (_now.AsSpan(offset, bytes.Length).SequenceEqual(bytes))
            return;
        _now = (byte[])_now.Clone();
        bytes.CopyTo(_now.AsSpan(offset));
        _steps.Add(_now);
    }

    /// <param name="end">where the end marker is, or would be</param>
    public List<HeaderExtension> Scan(out int end)
    {
        var found = new List<HeaderExtension>();
        end = (int)U32(HeaderField.HeaderLength);
        if (HeaderExtension.Scan(_now, end, BackingOffset != 0 ? BackingOffset : _now.Length, found) is { } wrong)
            throw Bad(wrong);
        if (found.Count > 0)
            end = found[^1].Offset + HeaderExtension.PrefixLength + ((found[^1].Data.Length + 7) & ~7);
        return found;
    }

    /// <summary>Adds an extension behind the others, where the end marker is.</summary>
    /// <param name="type">what it is</param>
    /// <param name="name">of that, for messages</param>
    /// <param name="data">a multiple of 8 bytes</param>
    /// <exception cref="ImageFormatException">there is no room for it</exception>
    public void Append(uint type, string name, ReadOnlySpan<byte> data)
    {
        _ = Scan(out var end);
        var newEnd = end + HeaderExtension.PrefixLength + data.Length + HeaderExtension.PrefixLength;
        var hasMarker = end + HeaderExtension.PrefixLength <= (BackingOffset != 0 ? BackingOffset : _now.Length);
        if (!hasMarker || newEnd > _now.Length)
            throw NoRoom(name);
        if (BackingOffset != 0 && BackingOffset < newEnd)
            MoveBackingName(newEnd, name);
        var added = new byte[newEnd - end];
        BinaryPrimitives.WriteUInt32BigEndian(added, type);
        BinaryPrimitives.WriteInt32BigEndian(added.AsSpan(4), data.Length);
        data.CopyTo(added.AsSpan(HeaderExtension.PrefixLength));

        // Until the sector with the end marker is written, nothing behind it means anything.
        var here = Math.Min(added.Length, Sector - (end % Sector));
        Write(end + here, added.AsSpan(here));
        Write(end, added.AsSpan(0, here));
    }

    public ulong U64(int field) => BinaryPrimitives.ReadUInt64BigEndian(_now.AsSpan(field));

    public uint U32(int field) => BinaryPrimitives.ReadUInt32BigEndian(_now.AsSpan(field));

    public ImageFormatException Bad(string why) => new(path, "header_extension", why);

    public static bool IsInOneSector(int offset, int length) => offset / Sector == (offset + length - 1) / Sector;

    private void MoveBackingName(int newEnd, string name)
    {
        var (offset, length) = (BackingOffset, BackingLength);
        var place = (Math.Max(newEnd, offset + length) + 7) & ~7;
        if (place + length > _now.Length)
            throw NoRoom(name);
        Write(place, _now.AsSpan(offset, length).ToArray());
        var field = new byte[sizeof(ulong)];
        BinaryPrimitives.WriteInt64BigEndian(field, place);
        Write(HeaderField.BackingFileOffset, field);
    }

    private ImageFormatException NoRoom(string name) => Bad($"the header has no room for the {name} in its cluster of {_now.Length} bytes");
}
