using Qcow2Blk.Format;

namespace Qcow2Blk.Creation;

/// <summary>How a new image is to be. Immutable; <see cref="CreateOptionTable"/> sets its members by name.</summary>
internal sealed record CreateOptions
{
    /// <summary>The file to be made.</summary>
    public required string Image { get; init; }

    /// <summary>Whether a file that is there already may be replaced, and a block device be overwritten.</summary>
    public bool Force { get; init; }

    /// <summary>Virtual disk size in bytes; null for that of the backing file.</summary>
    public long? Size { get; init; }

    /// <summary>The backing file's name as the image will have it, or null.</summary>
    public string? BackingFile { get; init; }

    /// <summary>The backing file's format, or null.</summary>
    public ImageFormat? BackingFormat { get; init; }

    /// <summary>2 or 3.</summary>
    public int Version { get; init; } = 3;

    public int ClusterSize { get; init; } = 65536;

    public int RefcountBits { get; init; } = 16;

    public bool LazyRefcounts { get; init; }

    public bool ExtendedL2 { get; init; }

    public CompressionType CompressionType { get; init; }

    public PreallocationMode Preallocation { get; init; }

    /// <summary>The external data file's name as the image will have it, or null.</summary>
    public string? DataFile { get; init; }

    /// <summary>Whether the data file is to be a raw disk at all times.</summary>
    public bool DataFileRaw { get; init; }

    /// <summary>Whether the disk is encrypted, with a LUKS header.</summary>
    public bool Luks { get; init; }

    /// <summary>What of <c>encrypt.</c> was given; null where the default holds.</summary>
    public NewEncryption Encryption { get; init; } = new();
}
