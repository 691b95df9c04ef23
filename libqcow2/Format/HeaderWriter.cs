using System;
using System.Buffers.Binary;
using System.Text;

namespace Qcow2Blk.Format;

/// <summary>
/// Encodes the first cluster of an image: header, extensions and backing file name, in the order and with the lengths that qemu
/// gives them. The inverse of <see cref="HeaderParser"/>.
/// </summary>
internal static class HeaderWriter
{
    /// <summary>Clusters up to this size have no feature name table: qemu leaves the room to the backing file name.</summary>
    private const int LargestWithoutFeatureNames = 4096;

    private static readonly UTF8Encoding s_strictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <param name="content">what the header shall say</param>
    /// <param name="path">the image's path, for messages</param>
    /// <returns>one cluster; zero behind what is written</returns>
    /// <exception cref="ImageFormatException">a name is too long, or all of it does not fit into the first cluster</exception>
    /// <exception cref="ArgumentException">the content contradicts itself, which is a mistake of the caller</exception>
    public static byte[] Write(HeaderContent content, string path)
    {
        RequireSound(content);
        var backingFile = Bytes(content.BackingFile, Limits.MaxBackingNameLength, "backing_file_name", "backing file name", path);
        var cluster = new byte[1 << content.ClusterBits];
        var header = content.Version == 2 ? Header.V2Length : Header.WrittenLength + content.UnknownFields.Length;
        var extensions = Extensions(content, path, cluster.Length - header - backingFile.Length);

        var needed = (long)header + extensions.Length + backingFile.Length;
        if (needed > cluster.Length)
        {
            throw new ImageFormatException(path, content.BackingFile is null ? "header_extension" : "backing_file_name",
                $"header of {header} bytes, extensions of {extensions.Length} and backing file name of {backingFile.Length} do not fit into"
                    + $" the first cluster ({cluster.Length} bytes)");
        }

        WriteFields(content, cluster);
        if (content.Version == 3)
            WriteFieldsOfVersion3(content, header, cluster);
        extensions.CopyTo(cluster.AsSpan(header));
        if (backingFile.Length > 0)
        {
            BinaryPrimitives.WriteInt64BigEndian(cluster.AsSpan(HeaderField.BackingFileOffset), header + extensions.Length);
            BinaryPrimitives.WriteInt32BigEndian(cluster.AsSpan(HeaderField.BackingFileSize), backingFile.Length);
            backingFile.CopyTo(cluster.AsSpan(header + extensions.Length));
        }

        return cluster;
    }

    private static void WriteFields(HeaderContent content, Span<byte> cluster)
    {
        BinaryPrimitives.WriteUInt32BigEndian(cluster[HeaderField.Magic..], HeaderParser.Magic);
        BinaryPrimitives.WriteInt32BigEndian(cluster[HeaderField.Version..], content.Version);
        BinaryPrimitives.WriteInt32BigEndian(cluster[HeaderField.ClusterBits..], content.ClusterBits);
        BinaryPrimitives.WriteInt64BigEndian(cluster[HeaderField.Size..], content.Size);
        BinaryPrimitives.WriteInt32BigEndian(cluster[HeaderField.CryptMethod..], content.CryptMethod);
        BinaryPrimitives.WriteInt32BigEndian(cluster[HeaderField.L1Size..], content.L1Size);
        BinaryPrimitives.WriteInt64BigEndian(cluster[HeaderField.L1TableOffset..], content.L1TableOffset.Value);
        BinaryPrimitives.WriteInt64BigEndian(cluster[HeaderField.RefcountTableOffset..], content.RefcountTableOffset.Value);
        BinaryPrimitives.WriteInt32BigEndian(cluster[HeaderField.RefcountTableClusters..], content.RefcountTableClusters);
        BinaryPrimitives.WriteInt32BigEndian(cluster[HeaderField.SnapshotCount..], content.SnapshotCount);
        BinaryPrimitives.WriteInt64BigEndian(cluster[HeaderField.SnapshotsOffset..], content.SnapshotsOffset.Value);
    }

    private static void WriteFieldsOfVersion3(HeaderContent content, int headerLength, Span<byte> cluster)
    {
        BinaryPrimitives.WriteUInt64BigEndian(cluster[HeaderField.IncompatibleFeatures..], (ulong)content.Incompatible);
        BinaryPrimitives.WriteUInt64BigEndian(cluster[HeaderField.CompatibleFeatures..], (ulong)content.Compatible);
        BinaryPrimitives.WriteUInt64BigEndian(cluster[HeaderField.AutoclearFeatures..], (ulong)content.Autoclear);
        BinaryPrimitives.WriteInt32BigEndian(cluster[HeaderField.RefcountOrder..], content.RefcountOrder);
        BinaryPrimitives.WriteInt32BigEndian(cluster[HeaderField.HeaderLength..], headerLength);
        cluster[HeaderField.CompressionType] = (byte)content.CompressionType;
        content.UnknownFields.Span.CopyTo(cluster[Header.WrittenLength..]);
    }

    /// <summary>All extensions with the end marker.</summary>
    /// <param name="content">what the header shall say</param>
    /// <param name="path">the image's path, for messages</param>
    /// <param name="room">bytes there are for them; if they need more, there is no feature name table, as nothing depends on it</param>
    private static byte[] Extensions(HeaderContent content, string path, int room)
    {
        var area = new ExtensionArea();
        if (content.BackingFormat is { } format)
        {
            area.Add(HeaderExtension.BackingFormat,
                Bytes(format, Limits.MaxFormatNameLength, "backing_format", "backing file format", path));
        }

        if (content.DataFileName is { } dataFile)
        {
            area.Add(HeaderExtension.ExternalDataFile,
                Bytes(dataFile, Limits.MaxDataFileNameLength, "data_file", "external data file name", path));
        }

        if (content.Encryption is { } encryption)
            area.Add(HeaderExtension.FullDiskEncryption, encryption.ToBytes());
        var beforeNames = area.Length;
        if (content.Bitmaps is { } bitmaps)
            area.Add(HeaderExtension.Bitmaps, bitmaps.Encode());
        foreach (var extension in content.UnknownExtensions)
            area.Add(extension.Type, extension.Data);
        area.Add(HeaderExtension.End, []);

        if (content.Version == 3 && 1 << content.ClusterBits > LargestWithoutFeatureNames)
        {
            var names = content.FeatureNames.Encode();
            if (area.Length + HeaderExtension.PrefixLength + names.Length <= room)
                area.Insert(beforeNames, HeaderExtension.FeatureNameTable, names);
        }

        return area.ToArray();
    }

    private static byte[] Bytes(string? text, int most, string field, string what, string path)
    {
        if (text is null)
            return [];
        byte[] bytes;
        try
        {
            bytes = s_strictUtf8.GetBytes(text);
        }
        catch (EncoderFallbackException)
        {
            throw new ImageFormatException(path, field, $"{what} \"{text}\" is not valid UTF-8");
        }

        if (bytes.Length == 0)
            throw new ImageFormatException(path, field, $"{what} is empty");
        if (bytes.Length > most)
            throw new ImageFormatException(path, field, $"{what} has {bytes.Length} bytes, at most {most}");
        if (bytes.AsSpan().Contains((byte)0))
            throw new ImageFormatException(path, field, $"{what} contains a zero byte");
        return bytes;
    }

    /// <summary>What the parser would refuse to read again must not be written.</summary>
    private static void RequireSound(HeaderContent content)
    {
        Require(content.Version is 2 or 3, "version 2 or 3");
        Require(content.ClusterBits is >= Limits.MinClusterBits and <= Limits.MaxClusterBits, "cluster_bits in range");
        Require(content.RefcountOrder is >= 0 and <= Limits.MaxRefcountOrder, "refcount_order in range");
        Require(content.Version == 3 || (content.Incompatible == 0 && content.Compatible == 0 && content.Autoclear == 0),
            "no features in version 2");
        Require(content.Version == 3 || (content.RefcountOrder == 4 && content.UnknownFields.IsEmpty),
            "nothing of version 3 in version 2");
        Require(content.UnknownFields.Length % 8 == 0, "header_length is a multiple of 8");
        Require((content.Incompatible & ~IncompatibleFeatures.Known) == 0, "incompatible features that are known");
        Require(content.CompressionType != CompressionType.Zlib == content.Incompatible.HasFlag(IncompatibleFeatures.CompressionType),
            "the compression type bit says whether compression_type is zlib");
        Require(content.Encryption is not null == (content.CryptMethod == Header.Luks),
            "LUKS has an encryption header, and nothing else has");
        Require(content.Bitmaps is not null == content.Autoclear.HasFlag(AutoclearFeatures.Bitmaps),
            "the bitmaps bit says whether there is a bitmaps extension");
        Require(!content.Autoclear.HasFlag(AutoclearFeatures.RawExternalData)
            || content.Incompatible.HasFlag(IncompatibleFeatures.DataFile), "raw external data needs an external data file");
        foreach (var extension in content.UnknownExtensions)
            Require(!extension.IsKnown && extension.Type != HeaderExtension.End, "extensions that have no member of their own");
    }

    private static void Require(bool condition, string rule)
    {
        if (!condition)
            throw new ArgumentException($"a header must have: {rule}", nameof(condition));
    }
}
