using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Linq;

namespace Qcow2Blk.Format;

/// <summary>How the bitmaps extension of a header is made, changed and removed.</summary>
/// <remarks>Where one sector will not do, the autoclear bit is cleared first, so that nobody believes the extension.</remarks>
internal sealed partial class BitmapsExtensionEdit
{
    private const int Sector = HeaderEdit.Sector;
    private const int WholeLength = HeaderExtension.PrefixLength + BitmapsExtension.Length;
    private const string What = "bitmaps extension";

    private readonly HeaderEdit _header;

    private BitmapsExtensionEdit(ReadOnlySpan<byte> cluster, string path) => _header = new HeaderEdit(cluster, path);

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
        return edit._header.Steps;
    }

    private ulong Autoclear => _header.U64(HeaderField.AutoclearFeatures);

    private void Set(byte[] data)
    {
        var found = _header.Scan(out _);
        if (found.Find(extension => extension.Type == HeaderExtension.Bitmaps) is not { } present)
        {
            Trust(false);
            _header.Append(HeaderExtension.Bitmaps, What, data);
        }
        else if (present.Data.Length != BitmapsExtension.Length)
        {
            throw _header.Bad($"bitmaps extension has {present.Data.Length} bytes, must have {BitmapsExtension.Length}");
        }
        else
        {
            var offset = present.Offset + HeaderExtension.PrefixLength;
            if (!HeaderEdit.IsInOneSector(offset, data.Length))
                Trust(false);
            _header.Write(offset, data);
        }

        Trust(true);
    }

    private void Remove()
    {
        Trust(false);
        var found = _header.Scan(out var end);
        var index = found.FindIndex(extension => extension.Type == HeaderExtension.Bitmaps);
        if (index < 0)
            return;
        var offset = found[index].Offset;
        var next = index + 1 < found.Count ? found[index + 1].Offset : end;

        // What follows it and reaches far into another sector cannot be moved up. Without the bit, the extension means nothing.
        if (next == end)
            _header.Write(offset, new byte[next - offset]);
        else if (HeaderEdit.IsInOneSector(offset, end - offset))
            _header.Write(offset, [.. _header.Now[next..end], .. new byte[next - offset]]);
        else
            _ = TryRewrite(found[0].Offset, end, [.. found.Where(extension => extension.Type != HeaderExtension.Bitmaps)]);
    }

    private void Trust(bool isTrusted)
    {
        if (((AutoclearFeatures)Autoclear).HasFlag(AutoclearFeatures.Bitmaps) == isTrusted)
            return;
        var field = new byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64BigEndian(field, Autoclear ^ (ulong)AutoclearFeatures.Bitmaps);
        _header.Write(HeaderField.AutoclearFeatures, field);
    }
}
