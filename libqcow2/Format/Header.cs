using System;
using System.Collections.Generic;

namespace Qcow2Blk.Format;

/// <summary>
/// The header of a qcow2 image with its extensions and backing file name, parsed and checked. Immutable: what is
/// written later (table offsets, feature bits) is the image's state, not this object's.
/// </summary>
internal sealed partial class Header
{
    /// <summary>Bytes <see cref="Parse"/> may need: header, extensions and backing name lie in the first cluster.</summary>
    public const int MaxParseBytes = 1 << Limits.MaxClusterBits;

    /// <summary>Bytes of a version 2 header.</summary>
    public const int V2Length = 72;

    /// <summary>Bytes a version 3 header has at least.</summary>
    public const int V3Length = 104;

    /// <summary>The encryption of old, with the passphrase itself as the key: a value of <see cref="CryptMethod"/>.</summary>
    public const int LegacyAes = 1;

    /// <summary>A value of <see cref="CryptMethod"/>.</summary>
    public const int Luks = 2;

    /// <summary>Bytes of the fields that have a meaning, and of the version 3 header that is written: up to and with compression_type and
    /// its padding.</summary>
    public const int WrittenLength = 112;

    internal Header(string path) => Path = path;

    /// <summary>The image's path, for messages.</summary>
    public string Path { get; }

    /// <summary>2 or 3.</summary>
    public required int Version { get; init; }

    /// <summary>Where the backing file name starts in the image file, 0 if there is none.</summary>
    public required int BackingFileOffset { get; init; }

    /// <summary>Bytes of the backing file name.</summary>
    public required int BackingFileSize { get; init; }

    /// <summary>The backing file name as stored (see <see cref="BackingPath"/>), or null.</summary>
    public string? BackingFile { get; init; }

    /// <summary>The backing file's format as stored (see <see cref="BackingFormatRule"/>), or null.</summary>
    public string? BackingFormat { get; init; }

    public required int ClusterBits { get; init; }

    /// <summary>Bytes of a cluster.</summary>
    public int ClusterSize => 1 << ClusterBits;

    /// <summary>Virtual disk size in bytes, as stored: not always a multiple of 512 (<see cref="Geometry.DiskSize"/> is).</summary>
    public required long Size { get; init; }

    /// <summary>0 none, 1 AES, 2 LUKS.</summary>
    public required int CryptMethod { get; init; }

    /// <summary>Where the LUKS header is, if <see cref="CryptMethod"/> is <see cref="Luks"/>.</summary>
    public EncryptionPointer? Encryption { get; init; }

    /// <summary>Entries in the active L1 table; enough for <see cref="Size"/>, at most <see cref="Limits.MaxL1Entries"/>.</summary>
    public required int L1Size { get; init; }

    /// <summary>Where the active L1 table starts; cluster aligned.</summary>
    public required HostOffset L1TableOffset { get; init; }

    /// <summary>Where the refcount table starts; cluster aligned.</summary>
    public required HostOffset RefcountTableOffset { get; init; }

    /// <summary>Clusters of the refcount table, 1 or more.</summary>
    public required int RefcountTableClusters { get; init; }

    /// <summary>Internal snapshots in the image.</summary>
    public required int SnapshotCount { get; init; }

    /// <summary>Where the snapshot table starts; cluster aligned; meaningless without snapshots.</summary>
    public required HostOffset SnapshotsOffset { get; init; }

    /// <summary>No unknown bits; none in version 2.</summary>
    public required IncompatibleFeatures Incompatible { get; init; }

    /// <summary>May have unknown bits, which are kept; none in version 2.</summary>
    public required CompatibleFeatures Compatible { get; init; }

    /// <summary>May have unknown bits, which must be cleared before the first write; none in version 2.</summary>
    public required AutoclearFeatures Autoclear { get; init; }

    /// <summary>A refcount entry has 1 &lt;&lt; order bits; 4 in version 2.</summary>
    public required int RefcountOrder { get; init; }

    /// <summary>Bytes of the header structure; extensions follow.</summary>
    public required int HeaderLength { get; init; }

    public required CompressionType CompressionType { get; init; }

    /// <summary>What a header longer than <see cref="WrittenLength"/> has behind that: fields of a later version, to be kept.</summary>
    public required byte[] UnknownFields { get; init; }

    /// <summary>All header extensions in file order, unknown ones too, without the end marker.</summary>
    public required IReadOnlyList<HeaderExtension> Extensions { get; init; }

    /// <summary>What feature bits are called.</summary>
    public required FeatureNames FeatureNames { get; init; }

    /// <summary>Name of the external data file as stored, or null.</summary>
    public string? DataFileName { get; init; }

    /// <summary>
    /// The bitmaps extension, if it is there and the autoclear bit says that it is consistent; otherwise null, and
    /// what the image may hold in bitmaps must not be trusted.
    /// </summary>
    public BitmapsExtension? Bitmaps { get; init; }

    /// <summary>
    /// Parses and checks the header. Everything that the first cluster alone shows to be wrong is refused here.
    /// </summary>
    /// <param name="start">the first min(file size, <see cref="MaxParseBytes"/>) bytes of the file</param>
    /// <param name="path">the image's path, for messages</param>
    /// <exception cref="ImageFormatException">not qcow2, malformed, or with unknown incompatible features</exception>
    public static Header Parse(ReadOnlySpan<byte> start, string path) => Parse(start, path, forCheck: false);

    /// <summary>As the other; for a check also what only a repair can do something about: snapshots and refcounts.</summary>
    /// <param name="start">the first min(file size, <see cref="MaxParseBytes"/>) bytes of the file</param>
    /// <param name="path">the image's path, for messages</param>
    /// <param name="forCheck">no refcount table is no fault, and what the header says of snapshots is not looked at</param>
    public static Header Parse(ReadOnlySpan<byte> start, string path, bool forCheck) => new HeaderParser(start, path, forCheck).Parse();
}
