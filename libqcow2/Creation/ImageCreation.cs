using System;
using System.Buffers.Binary;
using System.IO;
using System.Linq;
using Qcow2Blk.Buffers;
using Qcow2Blk.Crypto;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;
using Qcow2Blk.Inspect;
using Qcow2Blk.Remote;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Creation;

/// <summary>A new image, as it is.</summary>
/// <param name="Options">what was wanted, with the size</param>
/// <param name="FileLength">bytes of the image file</param>
internal sealed record CreatedImage(CreateOptions Options, long FileLength);

/// <summary>
/// Makes an image. Its bytes are qemu-img's, but for what qcow2blk-create(8) says; what is not there yet cannot be opened by
/// anybody, as the header is written last.
/// </summary>
internal sealed class ImageCreation
{
    private readonly CreateOptions _options;
    private readonly ImagePlan _plan;
    private readonly byte[] _header;
    private readonly byte[] _encryptionHeader = [];
    private readonly Action<string, double>? _progress;

    private ImageCreation(CreateOptions options, long size, SecretMemory? passphrase, Action<string, double>? progress)
    {
        _options = options;
        _progress = progress;
        _plan = ImagePlan.Make(options, size, EncryptionBytes);
        // First of all: it says whether names fit.
        _header = HeaderWriter.Write(Header(), options.Image);
        if (passphrase is not null)
            _encryptionHeader = LuksFormat.Make(options.Encryption.ToLuks(), passphrase);
    }

    /// <param name="options">what the image is to be</param>
    /// <param name="passphrase">unlocks the image if it is encrypted, else null; stays the caller's</param>
    /// <param name="progress">told what is being done and how far it is, if that takes long</param>
    /// <exception cref="OutcomeException">options that do not go together, or that no image can have</exception>
    /// <exception cref="ImageFormatException">the backing file is not what it should be, or a name does not fit</exception>
    /// <exception cref="ImageLockedException">a file that was to be replaced is in use</exception>
    /// <exception cref="IOException">a file cannot be read or written. Nothing has changed then, on block devices apart</exception>
    public static CreatedImage Create(
        CreateOptions options, SecretMemory? passphrase = null, Action<string, double>? progress = null)
    {
        CreateRules.Check(options);
        if (options.Luks && passphrase is null)
        {
            throw new OutcomeException(OutcomeKind.Invalid, $"cannot create {options.Image}", "the image is to be encrypted, and there is"
                + " no key", KeyOptions.HowToGive);
        }

        if (!options.Luks && passphrase is not null)
        {
            throw new OutcomeException(OutcomeKind.Invalid, $"cannot create {options.Image}", "there is a key, and no encryption",
                "encrypt.format=luks");
        }

        using var below = OpenBackingChain(options);
        var size = DiskSize(options, below);
        var creation = new ImageCreation(options, size, passphrase, progress);
        return creation.Make(below);
    }

    private CreatedImage Make(InspectedChain? below)
    {
        using var image = NewFile.Begin(_options.Image, _options.Force);
        using var data = _options.DataFile is { } name ? BeginDataFile(name) : null;
        RefuseCycle(below, image, data);
        if (!image.IsZero && _options.DataFile is null && _options.Preallocation is PreallocationMode.Metadata or PreallocationMode.Falloc)
        {
            throw new OutcomeException(OutcomeKind.Invalid, $"preallocation={PreallocationModes.Words.Of(_options.Preallocation)} is not"
                + " possible", $"what {image.Path} held before would show through", "preallocation=full writes zeroes");
        }

        image.SetLength(_plan.FileLength);
        data?.SetLength(_plan.Size);
        Preallocate(data ?? image);
        WriteTables(image);
        image.Sync();
        image.Write(0, _header);
        data?.Publish();
        try
        {
            image.Publish();
        }
        catch
        {
            data?.Withdraw();
            throw;
        }

        return new CreatedImage(_options with { Size = _plan.Size }, _plan.FileLength);
    }

    /// <summary>As when the image is opened, its name is relative to the image.</summary>
    private NewFile BeginDataFile(string name)
    {
        var file = NewFile.Begin(DataFilePath.Resolve(_options.Image, name), _options.Force);
        if (file.IsZero)
            return file;
        file.Dispose();
        throw new IOException($"cannot create {file.Path}: a data file cannot be made on a block device");
    }

    private static InspectedChain? OpenBackingChain(CreateOptions options)
    {
        if (options.BackingFile is null || RemoteLocation.IsUrl(options.BackingFile))
            return null;
        var path = BackingPath.Resolve(options.Image, options.BackingFile);
        InspectedChain chain;
        try
        {
            chain = InspectedChain.Open(path, options.BackingFormat!.Value);
        }
        catch (IOException error)
        {
            throw new IOException($"backing file \"{options.BackingFile}\": {error.Message}", error.HResult);
        }

        var refusal = chain.Broken ?? (chain.Images.Count < Limits.MaxBackingDepth ? null : new ImageFormatException(options.Image,
            "backing_file", $"with this image the chain would have more than {Limits.MaxBackingDepth} images"));
        if (refusal is null)
            return chain;
        chain.Dispose();
        throw refusal;
    }

    private static long DiskSize(CreateOptions options, InspectedChain? below)
    {
        var size = options.Size ?? below!.Images[0].DiskSize;
        return size <= Limits.MaxFileBytes ? Rounding.Up(size, 512)
            : throw new OutcomeException(OutcomeKind.Invalid, $"cannot create {options.Image}", $"a disk of {size} bytes is too large");
    }

    /// <summary>A file that is replaced must not be below the new image, nor its data be the image.</summary>
    private void RefuseCycle(InspectedChain? below, NewFile image, NewFile? data)
    {
        foreach (var file in (NewFile?[])[image, data])
        {
            if (file?.Identity is { } identity && below?.Images.FirstOrDefault(link => link.File.Identity == identity) is { } link)
            {
                throw new OutcomeException(OutcomeKind.Invalid, $"cannot create {_options.Image}",
                    $"{file.Path} is in the backing chain of the new image ({link.File.Path})");
            }
        }

        if (data is not null && (data.HasNameOf(image) || (data.Identity is { } same && same == image.Identity)))
        {
            throw new OutcomeException(OutcomeKind.Invalid, $"cannot create {_options.Image}",
                "image and data file are the same file");
        }
    }

    private HeaderContent Header() => new()
    {
        Version = _options.Version,
        ClusterBits = _plan.ClusterBits,
        Size = _plan.Size,
        L1Size = _plan.L1Size,
        L1TableOffset = Offset(_plan.L1Table),
        RefcountTableOffset = Offset(1),
        RefcountTableClusters = _plan.RefcountTableClusters,
        Incompatible = (_options.DataFile is null ? 0 : IncompatibleFeatures.DataFile)
            | (_options.CompressionType == CompressionType.Zlib ? 0 : IncompatibleFeatures.CompressionType)
            | (_options.ExtendedL2 ? IncompatibleFeatures.ExtendedL2 : 0),
        Compatible = _options.LazyRefcounts ? CompatibleFeatures.LazyRefcounts : 0,
        Autoclear = _options.DataFileRaw ? AutoclearFeatures.RawExternalData : 0,
        CryptMethod = _options.Luks ? Format.Header.Luks : 0,
        Encryption = _options.Luks ? new EncryptionPointer(Offset(_plan.EncryptionHeader), EncryptionBytes) : null,
        RefcountOrder = _plan.RefcountOrder,
        CompressionType = _options.CompressionType,
        BackingFile = _options.BackingFile,
        BackingFormat = _options.BackingFormat is { } format ? ImageFormats.Words.Of(format) : null,
        DataFileName = _options.DataFile,
    };

    private long EncryptionBytes => _options.Luks ? LuksFormat.LengthOf(_options.Encryption.ToLuks().Cipher) : 0;

    private HostOffset Offset(long cluster) => new(cluster << _plan.ClusterBits);

    private void Preallocate(NewFile file)
    {
        var isData = _options.DataFile is not null;
        if (_options.Preallocation == PreallocationMode.Falloc)
            file.Reserve(isData ? _plan.Size : _plan.FileLength);
        if (_options.Preallocation != PreallocationMode.Full)
            return;
        var done = 0L;
        void Progress(long bytes) => _progress?.Invoke("writing zeroes to", (double)(done += bytes) / _plan.Size);
        if (isData)
        {
            file.WriteZeroes(0, _plan.Size, Progress);
            return;
        }

        for (var i = 0; i < _plan.L1Size; i++)
            file.WriteZeroes(Offset(_plan.L2Tables[i].Data).Value, ClustersOfL2Table(i) << _plan.ClusterBits, Progress);
    }

    private long ClustersOfL2Table(int index) =>
        Math.Min(_plan.EntriesOfL2Table, _plan.GuestClusters - (long)index * _plan.EntriesOfL2Table);

    private void WriteTables(NewFile image)
    {
        var refcountTable = new byte[_plan.RefcountTableClusters << _plan.ClusterBits];
        foreach (var (index, cluster) in _plan.Clusters.RefcountBlocks)
        {
            BinaryPrimitives.WriteInt64BigEndian(refcountTable.AsSpan((int)index * sizeof(ulong)), Offset(cluster).Value);
            image.Write(Offset(cluster).Value, _plan.Clusters.RefcountBlock(index));
        }

        image.Write(Offset(1).Value, refcountTable);

        image.Write(Offset(_plan.EncryptionHeader).Value, _encryptionHeader);
        var l1Table = new byte[_plan.L1Size * sizeof(ulong)];
        for (var i = 0; i < _plan.L2Tables.Length; i++)
        {
            BinaryPrimitives.WriteUInt64BigEndian(l1Table.AsSpan(i * sizeof(ulong)),
                L1Entry.Encode(Offset(_plan.L2Tables[i].Table), copied: true));
            image.Write(Offset(_plan.L2Tables[i].Table).Value, L2Table(i));
        }

        if (l1Table.Length > 0)
            image.Write(Offset(_plan.L1Table).Value, l1Table);
    }

    /// <summary>Every cluster has its place. With subclusters, none of them is allocated, so what is below shows through.</summary>
    private byte[] L2Table(int index)
    {
        var table = new byte[_plan.ClusterSize];
        var data = _plan.L2Tables[index].Data;
        for (var i = 0; i < ClustersOfL2Table(index); i++)
        {
            BinaryPrimitives.WriteUInt64BigEndian(table.AsSpan(i << _plan.L2EntryBits),
                L2Entry.EncodeData(Offset(data + i), copied: true));
        }

        return table;
    }
}
