using System.Text.Json;
using Qcow2Blk.Format;

namespace Qcow2Blk.Devices;

/// <summary>What is told of an image's encryption: how, and nothing of the key. The members are qemu's.</summary>
internal static class EncryptionStatus
{
    /// <summary>Writes "encrypt" into the open object, if the image is encrypted.</summary>
    /// <param name="writer">where to</param>
    /// <param name="header">of the image</param>
    /// <param name="luks">its LUKS header; null if it has none, or a damaged one</param>
    public static void Write(Utf8JsonWriter writer, Header header, LuksHeader? luks)
    {
        if (header.CryptMethod == 0)
            return;
        writer.WriteStartObject("encrypt"u8);
        writer.WriteString("format"u8, header.CryptMethod == Header.Luks ? "luks" : "aes");
        if (luks is not null)
            WriteLuks(writer, luks);
        writer.WriteEndObject();
    }

    private static void WriteLuks(Utf8JsonWriter writer, LuksHeader luks)
    {
        writer.WriteString("cipher-alg"u8, luks.Cipher.Algorithm);
        writer.WriteString("cipher-mode"u8, CipherModes.Words.Of(luks.Cipher.Mode));
        writer.WriteString("ivgen-alg"u8, IvGenerators.Words.Of(luks.Cipher.Generator));
        if (luks.Cipher.GeneratorHash is { } hash)
            writer.WriteString("ivgen-hash-alg"u8, LuksHashes.Words.Of(hash));
        writer.WriteString("hash-alg"u8, LuksHashes.Words.Of(luks.Hash));
        writer.WriteString("uuid"u8, luks.Uuid);
        writer.WriteNumber("payload-offset"u8, luks.PayloadOffset);
        writer.WriteNumber("master-key-iters"u8, luks.KeyDigestIterations);
        writer.WriteStartArray("slots"u8);
        foreach (var slot in luks.Slots)
        {
            writer.WriteStartObject();
            writer.WriteBoolean("active"u8, slot.IsActive);
            if (slot.IsActive)
            {
                writer.WriteNumber("iters"u8, slot.Iterations);
                writer.WriteNumber("stripes"u8, slot.Stripes);
            }

            writer.WriteNumber("key-offset"u8, slot.Offset);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }
}
