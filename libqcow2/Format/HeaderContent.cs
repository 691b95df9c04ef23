using System;
using System.Collections.Generic;
using System.Linq;

namespace Qcow2Blk.Format;

/// <summary>
/// What the first cluster of an image shall hold: all of a <see cref="Header"/> that is written, to be changed with <c>with</c> and
/// encoded by <see cref="HeaderWriter"/>. Immutable.
/// </summary>
internal sealed record HeaderContent
{
    /// <summary>2 or 3.</summary>
    public required int Version { get; init; }

    public required int ClusterBits { get; init; }

    /// <summary>Virtual disk size in bytes.</summary>
    public required long Size { get; init; }

    /// <summary>0 none, 1 AES, 2 LUKS, which needs <see cref="Encryption"/>.</summary>
    public int CryptMethod { get; init; }

    public required int L1Size { get; init; }

    public required HostOffset L1TableOffset { get; init; }

    public required HostOffset RefcountTableOffset { get; init; }

    public required int RefcountTableClusters { get; init; }

    public int SnapshotCount { get; init; }

    public HostOffset SnapshotsOffset { get; init; }

    /// <summary>None in version 2.</summary>
    public IncompatibleFeatures Incompatible { get; init; }

    /// <summary>None in version 2.</summary>
    public CompatibleFeatures Compatible { get; init; }

    /// <summary>None in version 2. <see cref="AutoclearFeatures.Bitmaps"/> needs <see cref="Bitmaps"/>, and the other way round.</summary>
    public AutoclearFeatures Autoclear { get; init; }

    /// <summary>4 in version 2.</summary>
    public int RefcountOrder { get; init; } = 4;

    /// <summary>Not zlib if and only if the incompatible bit says so.</summary>
    public CompressionType CompressionType { get; init; }

    /// <summary>Version 3: what the header has behind the fields that have a meaning; a multiple of 8 bytes.</summary>
    public ReadOnlyMemory<byte> UnknownFields { get; init; }

    /// <summary>The backing file name as it is stored, or null.</summary>
    public string? BackingFile { get; init; }

    /// <summary>The backing file's format, or null.</summary>
    public string? BackingFormat { get; init; }

    /// <summary>Name of the external data file, or null.</summary>
    public string? DataFileName { get; init; }

    /// <summary>Where the LUKS header is, or null.</summary>
    public EncryptionPointer? Encryption { get; init; }

    /// <summary>Where the bitmap directory is, or null.</summary>
    public BitmapsExtension? Bitmaps { get; init; }

    /// <summary>What feature bits are called, beside those that have a meaning.</summary>
    public FeatureNames FeatureNames { get; init; } = new([]);

    /// <summary>Extensions of other types than those that the members above stand for, in order.</summary>
    public IReadOnlyList<HeaderExtension> UnknownExtensions { get; init; } = [];

    /// <summary>What an image has, so that <see cref="HeaderWriter"/> writes the same again.</summary>
    /// <remarks>
    /// As when qemu rewrites a header, bitmaps that cannot be trusted any more (their autoclear bit is clear) are left out.
    /// </remarks>
    public static HeaderContent Of(Header header) => new()
    {
        Version = header.Version,
        ClusterBits = header.ClusterBits,
        Size = header.Size,
        CryptMethod = header.CryptMethod,
        L1Size = header.L1Size,
        L1TableOffset = header.L1TableOffset,
        RefcountTableOffset = header.RefcountTableOffset,
        RefcountTableClusters = header.RefcountTableClusters,
        SnapshotCount = header.SnapshotCount,
        SnapshotsOffset = header.SnapshotsOffset,
        Incompatible = header.Incompatible,
        Compatible = header.Compatible,
        Autoclear = header.Bitmaps is null ? header.Autoclear & ~AutoclearFeatures.Bitmaps : header.Autoclear,
        RefcountOrder = header.RefcountOrder,
        CompressionType = header.CompressionType,
        UnknownFields = header.UnknownFields,
        BackingFile = header.BackingFile,
        BackingFormat = header.BackingFormat,
        DataFileName = header.DataFileName,
        Encryption = header.Encryption,
        Bitmaps = header.Bitmaps,
        FeatureNames = header.FeatureNames,
        UnknownExtensions = [.. header.Extensions.Where(extension => !extension.IsKnown)],
    };
}
