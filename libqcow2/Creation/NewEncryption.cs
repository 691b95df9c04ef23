using Qcow2Blk.Crypto;
using Qcow2Blk.Format;

namespace Qcow2Blk.Creation;

/// <summary>How a new image is encrypted; what is null is as qemu-img has it.</summary>
internal sealed record NewEncryption
{
    /// <summary>Bits of an AES key: 128 or 256.</summary>
    public int? KeyBits { get; init; }

    public CipherMode? Mode { get; init; }

    public IvGenerator? Generator { get; init; }

    public LuksHash? GeneratorHash { get; init; }

    public LuksHash? Hash { get; init; }

    /// <summary>How long trying a passphrase shall take, in milliseconds.</summary>
    public int? IterationTime { get; init; }

    public bool IsGiven => this != new NewEncryption();

    /// <summary>With everything that was left out.</summary>
    public LuksFormatOptions ToLuks()
    {
        var usual = new LuksFormatOptions();
        var mode = Mode ?? usual.Cipher.Mode;
        var generator = Generator ?? usual.Cipher.Generator;
        var hash = GeneratorHash ?? (generator == IvGenerator.Essiv ? LuksHash.Sha256 : null);
        var keyBytes = (KeyBits ?? usual.Cipher.AesKeyBytes * 8) / 8 * (mode == CipherMode.Xts ? 2 : 1);
        return new LuksFormatOptions
        {
            Cipher = new LuksCipher(keyBytes, mode, generator, hash),
            Hash = Hash ?? usual.Hash,
            IterationTime = IterationTime ?? usual.IterationTime,
        };
    }
}
