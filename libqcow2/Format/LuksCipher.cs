using System;

namespace Qcow2Blk.Format;

/// <summary>How blocks of the cipher are chained within a sector.</summary>
internal enum CipherMode
{
    Xts,
    Cbc,
}

/// <summary>What the initialization vector of a sector is made of.</summary>
internal enum IvGenerator
{
    /// <summary>The low 32 bits of the sector's number.</summary>
    Plain,

    /// <summary>The sector's number.</summary>
    Plain64,

    /// <summary>The sector's number, encrypted with a digest of the key.</summary>
    Essiv,
}

/// <summary>Digests of a LUKS header.</summary>
internal enum LuksHash
{
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// <summary>The words of cipher modes, as in a LUKS header and in qemu's options.</summary>
internal static class CipherModes
{
    public static EnumWords<CipherMode> Words { get; } = new((CipherMode.Xts, "xts"), (CipherMode.Cbc, "cbc"));
}

/// <summary>The words of vector generators, as in a LUKS header and in qemu's options.</summary>
internal static class IvGenerators
{
    public static EnumWords<IvGenerator> Words { get; } =
        new((IvGenerator.Plain, "plain"), (IvGenerator.Plain64, "plain64"), (IvGenerator.Essiv, "essiv"));
}

/// <summary>The words of digests, as in a LUKS header and in qemu's options.</summary>
internal static class LuksHashes
{
    public static EnumWords<LuksHash> Words { get; } = new(
        (LuksHash.Sha1, "sha1"), (LuksHash.Sha224, "sha224"), (LuksHash.Sha256, "sha256"), (LuksHash.Sha384, "sha384"),
        (LuksHash.Sha512, "sha512"));

    /// <summary>Bytes of the digest.</summary>
    public static int Length(LuksHash hash) => hash switch
    {
        LuksHash.Sha1 => 20,
        LuksHash.Sha224 => 28,
        LuksHash.Sha256 => 32,
        LuksHash.Sha384 => 48,
        LuksHash.Sha512 => 64,
        _ => throw new ArgumentOutOfRangeException(nameof(hash), $"{hash}"),
    };
}

/// <summary>AES in the ways in which disks are encrypted with it.</summary>
/// <param name="KeyBytes">bytes of the whole key; of XTS they are two keys</param>
/// <param name="Mode">how blocks are chained</param>
/// <param name="Generator">where vectors come from</param>
/// <param name="GeneratorHash">the digest of <see cref="IvGenerator.Essiv"/>; null with the others</param>
internal readonly record struct LuksCipher(int KeyBytes, CipherMode Mode, IvGenerator Generator, LuksHash? GeneratorHash)
{
    /// <summary>Bytes of one AES key.</summary>
    public int AesKeyBytes => Mode == CipherMode.Xts ? KeyBytes / 2 : KeyBytes;

    /// <summary>As qemu calls it: aes-256.</summary>
    public string Algorithm => $"aes-{AesKeyBytes * 8}";

    /// <summary>As a LUKS header has it: "xts-plain64", "cbc-essiv:sha256".</summary>
    public string ModeName => $"{CipherModes.Words.Of(Mode)}-{IvGenerators.Words.Of(Generator)}"
        + (GeneratorHash is { } hash ? $":{LuksHashes.Words.Of(hash)}" : "");

    /// <summary>Takes apart what a header says.</summary>
    /// <param name="name">the cipher: "aes"</param>
    /// <param name="modeName">as <see cref="ModeName"/></param>
    /// <param name="keyBytes">bytes of the whole key</param>
    /// <param name="cipher">the result</param>
    /// <returns>null, or the field at fault and what is wrong with it</returns>
    public static (string Field, string Why)? Parse(string name, string modeName, uint keyBytes, out LuksCipher cipher)
    {
        cipher = default;
        if (name != "aes")
            return ("cipher-name", $"cipher \"{name}\" is not supported, only \"aes\" is");
        var dash = modeName.IndexOf('-', StringComparison.Ordinal);
        var colon = modeName.IndexOf(':', StringComparison.Ordinal);
        var generatorEnd = colon < 0 ? modeName.Length : colon;
        if (dash < 0 || generatorEnd < dash)
            return ("cipher-mode", $"cipher mode \"{modeName}\" does not say how sectors are told apart, as in \"xts-plain64\"");
        if (CipherModes.Words.TryParse(modeName[..dash]) is not { } mode)
            return ("cipher-mode", $"cipher mode \"{modeName}\" is not supported, only {CipherModes.Words} are");
        if (IvGenerators.Words.TryParse(modeName[(dash + 1)..generatorEnd]) is not { } generator)
            return ("cipher-mode", $"the vectors of cipher mode \"{modeName}\" are not supported, only {IvGenerators.Words} are");
        var hash = colon < 0 ? null : LuksHashes.Words.TryParse(modeName[(colon + 1)..]);
        if (generator == IvGenerator.Essiv && hash != LuksHash.Sha256)
            return ("cipher-mode", $"the digest of cipher mode \"{modeName}\" is not supported: essiv needs sha256");
        if (generator != IvGenerator.Essiv && colon >= 0)
            return ("cipher-mode", $"cipher mode \"{modeName}\" has a digest, which only essiv takes");

        // AES-192 would make key material that is not whole sectors: qemu ends itself over it.
        var fits = mode == CipherMode.Xts ? keyBytes is 32 or 64 : keyBytes is 16 or 32;
        if (!fits)
        {
            return ("key-bytes",
                $"key-bytes {keyBytes} is not a key of {name}-{modeName}: it has {(mode == CipherMode.Xts ? "32 or 64" : "16 or 32")}");
        }

        cipher = new LuksCipher((int)keyBytes, mode, generator, hash);
        return null;
    }
}
