using System;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;
using Qcow2Blk.Remote;

namespace Qcow2Blk.Creation;

/// <summary>What options of a new image mean together: qemu-img's rules.</summary>
internal static class CreateRules
{
    /// <exception cref="OutcomeException">usage: the first rule that is broken</exception>
    public static void Check(CreateOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (options.Version == 2)
            CheckVersion2(options);
        if (options.ExtendedL2 && options.ClusterSize < 1 << Limits.MinExtendedL2ClusterBits)
            throw Refused("extended_l2=on", $"it needs clusters of 16K at least, not of {options.ClusterSize} bytes");
        CheckBackingFile(options);
        CheckDataFile(options);
        CheckEncryption(options);
        if (options.Size is null && options.BackingFile is null)
            throw new OutcomeException(OutcomeKind.Invalid, $"cannot create {options.Image}", "SIZE is missing", "\"10G\", for example");
    }

    private static void CheckVersion2(CreateOptions options)
    {
        var needs3 = options.RefcountBits != 16 ? $"refcount_bits={options.RefcountBits}"
            : options.LazyRefcounts ? "lazy_refcounts=on"
            : options.ExtendedL2 ? "extended_l2=on"
            : options.CompressionType != CompressionType.Zlib
                ? $"compression_type={CompressionTypes.Words.Of(options.CompressionType)}"
            : options.DataFile is not null ? $"data_file={options.DataFile}"
            : null;
        if (needs3 is not null)
            throw Refused(needs3, "version 2 of the format has no such thing", "compat=1.1 has");
    }

    private static void CheckBackingFile(CreateOptions options)
    {
        if (options.BackingFile is { } file && options.BackingFormat is null)
        {
            throw Refused($"backing file \"{file}\"", "its format is not stated, and formats are never guessed",
                "--backing-format qcow2|raw");
        }

        if (options.BackingFile is { } url && RemoteLocation.IsUrl(url))
            CheckBackingUrl(url, options.Size);
        if (options.BackingFile is null && options.BackingFormat is { } format)
        {
            throw Refused($"backing format {ImageFormats.Words.Of(format)}", "there is no backing file", "--backing FILE");
        }

        if (options.BackingFile is not null && options.Preallocation != PreallocationMode.Off && !options.ExtendedL2)
        {
            throw Refused($"preallocation={PreallocationModes.Words.Of(options.Preallocation)}",
                "clusters that are allocated hide those of the backing file", "extended_l2=on allows both");
        }
    }

    private static void CheckBackingUrl(string url, long? size)
    {
        if (RemoteLocation.Parse(url, out var location) is { } wrong)
            throw Refused($"backing file \"{url.Split('?')[0]}\"", wrong);
        if (location!.IsHttp && location.Uri.Query.Length > 0)
        {
            throw Refused($"backing file \"{location.Name}\" with a query", "a signature would be in the image, for everybody who has it",
                "leave the query out: credentials are given to attach");
        }

        if (size is null)
            throw Refused($"backing file \"{location.Name}\" without SIZE", "the base is not read", "\"10G\", for example");
    }

    private static void CheckDataFile(CreateOptions options)
    {
        if (!options.DataFileRaw)
            return;
        if (options.DataFile is null)
            throw Refused("data_file_raw=on", "there is no data file", "data_file=FILE");
        if (options.BackingFile is not null)
            throw Refused("data_file_raw=on", "a raw data file has no room for what is in a backing file");
    }

    private static void CheckEncryption(CreateOptions options)
    {
        if (!options.Luks && options.Encryption.IsGiven)
            throw Refused("encrypt", "there is no encryption", "encrypt.format=luks");
        var cipher = options.Encryption.ToLuks().Cipher;
        if (options.Luks && cipher.Generator != IvGenerator.Essiv && cipher.GeneratorHash is not null)
            throw Refused("encrypt.ivgen-hash-alg", "only essiv has a digest", "encrypt.ivgen-alg=essiv");
        if (options.Luks && LuksCipher.Parse("aes", cipher.ModeName, (uint)cipher.KeyBytes, out _) is { } fault)
            throw Refused("encrypt", fault.Why);
    }

    private static OutcomeException Refused(string what, string why, string? hint = null) =>
        new(OutcomeKind.Invalid, $"{what} is not possible", why, hint);
}
