using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Text;

namespace Qcow2Blk.Format;

/// <summary>
/// Turns the first bytes of a file into a <see cref="Header"/>. Checks come in qemu's order, so that an image with
/// several faults is refused for the same one.
/// </summary>
internal ref partial struct HeaderParser(ReadOnlySpan<byte> start, string path, bool forCheck)
{
    /// <summary>'Q', 'F', 'I', 0xfb.</summary>
    public const uint Magic = 0x514649fb;

    private static readonly UTF8Encoding s_strictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private readonly ReadOnlySpan<byte> _start = start;
    private readonly string _path = path;
    private readonly bool _forCheck = forCheck;
    private readonly List<HeaderExtension> _extensions = [];
    private int _version;
    private int _clusterBits;
    private int _headerLength;
    private int _backingOffset;
    private IncompatibleFeatures _incompatible;
    private AutoclearFeatures _autoclear;
    private FeatureNames _featureNames = new([]);

    public Header Parse()
    {
        CheckMagicAndVersion();
        ReadClusterBitsAndLength();
        ReadFeaturesAndExtensions();

        var compressionType = ReadCompressionType();
        var refcountOrder = ReadRefcountOrder();
        (var cryptMethod, var encryption) = ReadEncryption();
        (var refcountTable, var refcountTableClusters) = ReadRefcountTable();
        (var snapshots, var snapshotCount) = ReadSnapshots();
        (var l1Table, var l1Size) = ReadL1Table();
        var backingFile = ReadBackingFile();

        return new Header(_path)
        {
            Version = _version,
            BackingFileOffset = _backingOffset,
            BackingFileSize = _backingOffset == 0 ? 0 : (int)U32(HeaderField.BackingFileSize),
            BackingFile = backingFile,
            BackingFormat = ReadBackingFormat(),
            ClusterBits = _clusterBits,
            Size = (long)U64(HeaderField.Size),
            CryptMethod = cryptMethod,
            Encryption = encryption,
            L1Size = l1Size,
            L1TableOffset = l1Table,
            RefcountTableOffset = refcountTable,
            RefcountTableClusters = refcountTableClusters,
            SnapshotCount = snapshotCount,
            SnapshotsOffset = snapshots,
            Incompatible = _incompatible,
            Compatible = _version == 2 ? 0 : (CompatibleFeatures)U64(HeaderField.CompatibleFeatures),
            Autoclear = _autoclear,
            RefcountOrder = refcountOrder,
            HeaderLength = _headerLength,
            CompressionType = compressionType,
            UnknownFields = _headerLength > Header.WrittenLength ? _start[Header.WrittenLength.._headerLength].ToArray() : [],
            Extensions = _extensions.AsReadOnly(),
            FeatureNames = _featureNames,
            DataFileName = ReadDataFileName(),
            Bitmaps = ReadBitmaps(),
        };
    }

    private readonly int ClusterSize => 1 << _clusterBits;

    private readonly uint U32(int field) => BinaryPrimitives.ReadUInt32BigEndian(_start[field..]);

    private readonly ulong U64(int field) => BinaryPrimitives.ReadUInt64BigEndian(_start[field..]);

    private readonly ImageFormatException Bad(string field, string message) => new(_path, field, message);

    private void CheckMagicAndVersion()
    {
        if (_start.Length < sizeof(uint))
            throw Bad("magic", $"not a qcow2 image: the file has only {_start.Length} bytes");
        if (U32(HeaderField.Magic) != Magic)
            throw Bad("magic", $"not a qcow2 image: magic is 0x{U32(HeaderField.Magic):x8}, not 0x{Magic:x8}");
        if (_start.Length < Header.V2Length)
            throw Bad("header_length", $"header is cut off: the file has {_start.Length} bytes, a header {Header.V2Length}");

        var stored = U32(HeaderField.Version);
        if (stored is not (2 or 3))
            throw Bad("version", $"version {stored} of qcow2 is not supported, only 2 and 3 are");
        _version = (int)stored;
        if (_version == 3 && _start.Length < Header.V3Length)
            throw Bad("header_length", $"header is cut off: the file has {_start.Length} bytes, a version 3 header {Header.V3Length}");
    }

    private void ReadClusterBitsAndLength()
    {
        var bits = U32(HeaderField.ClusterBits);
        if (bits is < Limits.MinClusterBits or > Limits.MaxClusterBits)
            throw Bad("cluster_bits", $"cluster_bits {bits} is not in {Limits.MinClusterBits}..{Limits.MaxClusterBits}");
        _clusterBits = (int)bits;

        var length = _version == 2 ? Header.V2Length : U32(HeaderField.HeaderLength);
        if (_version == 3 && length < Header.V3Length)
            throw Bad("header_length", $"header_length {length} is too short, a version 3 header has {Header.V3Length}");
        if (length > (uint)ClusterSize)
            throw Bad("header_length", $"header_length {length} exceeds the cluster size {ClusterSize}");
        if (length % 8 != 0)
            throw Bad("header_length", $"header_length {length} is not a multiple of 8");
        if (length > (uint)_start.Length)
            throw Bad("header_length", $"header is cut off: the file has {_start.Length} bytes, header_length is {length}");
        _headerLength = (int)length;

        var backing = U64(HeaderField.BackingFileOffset);
        if (backing > (uint)ClusterSize)
            throw Bad("backing_file_offset", $"backing_file_offset 0x{backing:x} is outside the first cluster ({ClusterSize} bytes)");
        if (backing != 0 && backing < length)
            throw Bad("backing_file_offset", $"backing_file_offset 0x{backing:x} is inside the header ({length} bytes)");
        _backingOffset = (int)backing;
    }

    private void ReadFeaturesAndExtensions()
    {
        var end = _backingOffset != 0 ? _backingOffset : ClusterSize;
        var fault = HeaderExtension.Scan(_start, _headerLength, end, _extensions);
        _featureNames = new FeatureNames(Extension(HeaderExtension.FeatureNameTable));

        if (_version == 3)
        {
            _incompatible = (IncompatibleFeatures)U64(HeaderField.IncompatibleFeatures);
            _autoclear = (AutoclearFeatures)U64(HeaderField.AutoclearFeatures);
        }

        // Before the extensions' own faults: a feature that is not known may explain them.
        var unknown = (ulong)(_incompatible & ~IncompatibleFeatures.Known);
        if (unknown != 0)
        {
            throw new ImageFormatException(_path, "incompatible_features",
                $"unsupported incompatible features: {string.Join(", ", _featureNames.NamesOf(FeatureKind.Incompatible, unknown))}"
                + $" (incompatible_features 0x{(ulong)_incompatible:x})")
            {
                IsUnsupported = true,
            };
        }

        if (_incompatible.HasFlag(IncompatibleFeatures.ExtendedL2) && _clusterBits < Limits.MinExtendedL2ClusterBits)
        {
            throw Bad("cluster_bits",
                $"cluster_bits {_clusterBits} is too small for extended L2 entries, which need {Limits.MinExtendedL2ClusterBits}");
        }

        if (fault is not null)
            throw Bad("header_extension", fault);
    }

    private readonly ReadOnlySpan<byte> Extension(uint type) => FindExtension(type)?.Data;

    private readonly HeaderExtension? FindExtension(uint type) => _extensions.Find(extension => extension.Type == type);

    private readonly CompressionType ReadCompressionType()
    {
        var marked = _incompatible.HasFlag(IncompatibleFeatures.CompressionType);
        var type = _headerLength > HeaderField.CompressionType ? _start[HeaderField.CompressionType] : (byte)0;
        if (type > (byte)CompressionType.Zstd)
            throw Bad("compression_type", $"compression_type {type} is unknown, only 0 (zlib) and 1 (zstd) are supported");
        if (type == 0 && marked)
            throw Bad("compression_type", "compression_type is 0 (zlib), but the compression type bit of incompatible_features is set");
        if (type != 0 && !marked)
            throw Bad("compression_type", $"compression_type is {type}, but the compression type bit of incompatible_features is not set");
        return (CompressionType)type;
    }

    private readonly int ReadRefcountOrder()
    {
        var order = _version == 2 ? 4 : U32(HeaderField.RefcountOrder);
        if (order > Limits.MaxRefcountOrder)
            throw Bad("refcount_order", $"refcount_order {order} is too large, at most {Limits.MaxRefcountOrder} (64 bits)");
        return (int)order;
    }

    private readonly (int Method, EncryptionPointer? Pointer) ReadEncryption()
    {
        var method = U32(HeaderField.CryptMethod);
        if (method > 2)
            throw Bad("crypt_method", $"crypt_method {method} is unknown, only 0 (none), 1 (AES) and 2 (LUKS) are");
        var pointer = FindExtension(HeaderExtension.FullDiskEncryption);
        if (method == 2 && pointer is null)
            throw Bad("crypt_method", "crypt_method is 2 (LUKS), but the full disk encryption header extension is missing");
        if (method != 2 && pointer is not null)
        {
            throw Bad("crypt_method",
                $"crypt_method is {method}, but there is a full disk encryption header extension, which needs 2 (LUKS)");
        }

        return ((int)method, pointer is null ? null : EncryptionPointer.Parse(pointer.Data, ClusterSize, _path));
    }
}
