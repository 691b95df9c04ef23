using System;
using System.Globalization;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;

namespace Qcow2Blk.Creation;

/// <summary>The options of encryption: part of <see cref="CreateOptionTable"/>.</summary>
internal static class EncryptOptions
{
    // What a day has: nobody waits longer for a key.
    private const int MostMilliseconds = 86_400_000;

    public static CreateOption[] All { get; } =
    [
        new("encrypt.format", "luks", "encrypt the disk", (o, text) => text switch
        {
            "luks" => o with { Luks = true },
            "aes" => throw NoLegacy("encrypt.format", text),
            _ => throw CreateOption.Bad("encrypt.format", text, "it must be luks"),
        }),
        new("encrypt.cipher-alg", "aes-128|aes-256", "the cipher [default: aes-256]", (o, text) => With(o, e => e with
        {
            KeyBits = text switch
            {
                "aes-128" => 128,
                "aes-256" => 256,
                _ => throw CreateOption.Bad("encrypt.cipher-alg", text, "it must be aes-128 or aes-256"),
            },
        })),
        new("encrypt.cipher-mode", "xts|cbc", "how blocks are chained [default: xts]",
            (o, text) => With(o, e => e with { Mode = CreateOptionTable.Word("encrypt.cipher-mode", text, CipherModes.Words) })),
        new("encrypt.ivgen-alg", "plain|plain64|essiv", "what vectors are made of [default: plain64]",
            (o, text) => With(o, e => e with { Generator = CreateOptionTable.Word("encrypt.ivgen-alg", text, IvGenerators.Words) })),
        new("encrypt.ivgen-hash-alg", "sha256", "the digest of essiv [default: sha256]",
            (o, text) => With(o, e => e with
            {
                GeneratorHash = CreateOptionTable.Word("encrypt.ivgen-hash-alg", text, LuksHashes.Words),
            })),
        new("encrypt.hash-alg", "sha1|sha224|sha256|sha384|sha512", "the digest of passphrases [default: sha256]",
            (o, text) => With(o, e => e with { Hash = CreateOptionTable.Word("encrypt.hash-alg", text, LuksHashes.Words) })),
        new("encrypt.iter-time", "MILLISECONDS", "how long trying a passphrase takes [default: 2000]",
            (o, text) => With(o, e => e with { IterationTime = Milliseconds(text) })),
    ];

    /// <summary>qemu-img makes such images still, and says that it should not be done.</summary>
    public static OutcomeException NoLegacy(string name, string text) => CreateOption.Bad(name, text,
        "AES in CBC mode with the passphrase as its key protects too little for a new image", "encrypt.format=luks does");

    private static CreateOptions With(CreateOptions options, Func<NewEncryption, NewEncryption> change) =>
        options with { Encryption = change(options.Encryption) };

    private static int Milliseconds(string text) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var time) && time is > 0 and <= MostMilliseconds ? time
            : throw CreateOption.Bad("encrypt.iter-time", text, $"it must be a number of milliseconds, 1 to {MostMilliseconds}");
}
