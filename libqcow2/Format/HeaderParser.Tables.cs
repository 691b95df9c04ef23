using System;
using System.Text;

namespace Qcow2Blk.Format;

/// <summary>The tables and names that the header points to.</summary>
internal ref partial struct HeaderParser
{
    private readonly (HostOffset Offset, int Clusters) ReadRefcountTable()
    {
        var clusters = U32(HeaderField.RefcountTableClusters);
        if (clusters > (uint)(Limits.MaxRefcountTableBytes >> _clusterBits))
        {
            throw Bad("refcount_table_clusters",
                $"refcount_table_clusters {clusters} is too large, at most {Limits.MaxRefcountTableBytes >> _clusterBits} clusters of"
                    + $" {ClusterSize}");
        }

        if (clusters == 0 && !_forCheck)
            throw Bad("refcount_table_clusters", "refcount_table_clusters is 0, an image must have a refcount table");
        return (ReadTableOffset(HeaderField.RefcountTableOffset, "refcount_table_offset"), (int)clusters);
    }

    private readonly (HostOffset Offset, int Count) ReadSnapshots()
    {
        if (_forCheck)
            return (new HostOffset(0), 0);
        var count = U32(HeaderField.SnapshotCount);
        if (count > Limits.MaxSnapshots)
            throw Bad("nb_snapshots", $"nb_snapshots {count} is too large, at most {Limits.MaxSnapshots}");
        return (ReadTableOffset(HeaderField.SnapshotsOffset, "snapshots_offset"), (int)count);
    }

    private readonly (HostOffset Offset, int Size) ReadL1Table()
    {
        var stored = U32(HeaderField.L1Size);
        if (stored > Limits.MaxL1Entries)
            throw Bad("l1_size", $"l1_size {stored} is too large, at most {Limits.MaxL1Entries} entries");
        var offset = ReadTableOffset(HeaderField.L1TableOffset, "l1_table_offset");

        var size = U64(HeaderField.Size);
        var entryBits = _incompatible.HasFlag(IncompatibleFeatures.ExtendedL2) ? 4 : 3;
        var bitsPerL1Entry = _clusterBits + _clusterBits - entryBits;
        var needed = size == 0 ? 0 : ((size - 1) >> bitsPerL1Entry) + 1;
        if (needed > Limits.MaxL1Entries)
        {
            throw Bad("size",
                $"size {size} is too big, clusters of {ClusterSize} bytes reach {(UInt128)Limits.MaxL1Entries << bitsPerL1Entry}");
        }

        if (stored < needed)
            throw Bad("l1_size", $"l1_size {stored} is too small, a disk of {size} bytes needs {needed} entries");
        return (offset, (int)stored);
    }

    private readonly HostOffset ReadTableOffset(int field, string name)
    {
        var offset = U64(field);
        if (offset % (uint)ClusterSize != 0)
            throw Bad(name, $"{name} 0x{offset:x} is not a multiple of the cluster size {ClusterSize}");
        // A check looks at what is nowhere, too: it reads as zeroes.
        if (offset >= (ulong)(_forCheck ? Limits.MaxFileBytes : Limits.MaxHostOffset))
            throw Bad(name, $"{name} 0x{offset:x} is too large, host offsets have 56 bits");
        return new HostOffset((long)offset);
    }

    private readonly string? ReadBackingFile()
    {
        if (_backingOffset == 0)
            return null;
        var length = U32(HeaderField.BackingFileSize);
        if (length > Limits.MaxBackingNameLength)
            throw Bad("backing_file_size", $"backing_file_size {length} is too long, at most {Limits.MaxBackingNameLength} bytes");
        if (length > (uint)(ClusterSize - _backingOffset))
        {
            throw Bad("backing_file_size",
                $"backing_file_size {length} is too long, the name at 0x{_backingOffset:x} ends outside the first cluster"
                    + $" ({ClusterSize} bytes)");
        }

        if (length > (uint)Math.Max(_start.Length - _backingOffset, 0))
            throw Bad("backing_file_size", $"backing file name at 0x{_backingOffset:x} ends past the file ({_start.Length} bytes)");
        return length == 0 ? null : Text(_start.Slice(_backingOffset, (int)length), "backing_file_name");
    }

    private readonly string? ReadBackingFormat()
    {
        if (FindExtension(HeaderExtension.BackingFormat) is not { Data: { Length: > 0 } data })
            return null;
        if (data.Length > Limits.MaxFormatNameLength)
            throw Bad("backing_format", $"backing file format name has {data.Length} bytes, at most {Limits.MaxFormatNameLength}");
        return Text(data, "backing_format");
    }

    private readonly string? ReadDataFileName()
    {
        var external = _incompatible.HasFlag(IncompatibleFeatures.DataFile);
        if (!external && _autoclear.HasFlag(AutoclearFeatures.RawExternalData))
            throw Bad("autoclear_features", "raw external data bit of autoclear_features is set, but there is no external data file");
        var data = FindExtension(HeaderExtension.ExternalDataFile)?.Data;
        if (data is null or { Length: 0 })
        {
            return external ? throw Bad("data_file", "external data file bit of incompatible_features is set, but its name is missing")
                : null;
        }

        if (data.Length > Limits.MaxDataFileNameLength)
            throw Bad("data_file", $"external data file name has {data.Length} bytes, at most {Limits.MaxDataFileNameLength}");
        return Text(data, "data_file");
    }

    private readonly BitmapsExtension? ReadBitmaps()
    {
        if (!_autoclear.HasFlag(AutoclearFeatures.Bitmaps))
            return null;
        return FindExtension(HeaderExtension.Bitmaps) is { } extension
            ? BitmapsExtension.Parse(extension.Data, ClusterSize, _path)
            : null;
    }

    /// <summary>A name that will be opened must survive the way through a string unchanged.</summary>
    private readonly string Text(ReadOnlySpan<byte> bytes, string field)
    {
        bytes = bytes.TrimEnd((byte)0);
        if (bytes.Contains((byte)0))
            throw Bad(field, $"{field} contains a zero byte");
        try
        {
            return s_strictUtf8.GetString(bytes);
        }
        catch (DecoderFallbackException)
        {
            throw Bad(field, $"{field} \"{Printable.Escape(bytes)}\" is not valid UTF-8, and other names are not supported");
        }
    }
}
