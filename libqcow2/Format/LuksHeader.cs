using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Text;

namespace Qcow2Blk.Format;

/// <summary>One key slot of a LUKS header: a way from one passphrase to the key.</summary>
/// <param name="IsActive">whether there is a passphrase for it</param>
/// <param name="Iterations">rounds of PBKDF2</param>
/// <param name="Salt">32 bytes</param>
/// <param name="Offset">where its key material begins, in bytes from the start of the header</param>
/// <param name="Stripes">how many times as long as the key the key material is</param>
internal sealed record LuksKeySlot(bool IsActive, int Iterations, byte[] Salt, long Offset, int Stripes);

/// <summary>
/// The first version of a LUKS header ("LUKS On-Disk Format Specification", 1.2.3), parsed and checked. It tells how the disk is
/// encrypted and holds the key, encrypted itself, up to eight times.
/// </summary>
internal sealed class LuksHeader
{
    /// <summary>Bytes of the header without the key material.</summary>
    public const int Length = 592;

    /// <summary>More than the largest header that there can be: eight slots of 4000 stripes of 64 bytes.</summary>
    public const int MaxBytes = 16 << 20;

    /// <summary>Key slots of every header.</summary>
    public const int SlotCount = 8;

    /// <summary>The only number of stripes that programs write, and that qemu and cryptsetup accept.</summary>
    public const int Stripes = 4000;

    public const int SectorSize = 512;

    public const int SaltLength = 32;

    public const int DigestLength = 20;

    /// <summary>Where key material may begin, at the earliest.</summary>
    internal const int FirstKeyOffset = 4096;

    internal const uint SlotEnabled = 0x00ac71f3;
    internal const uint SlotDisabled = 0x0000dead;

    internal static ReadOnlySpan<byte> Magic => [(byte)'L', (byte)'U', (byte)'K', (byte)'S', 0xba, 0xbe];

    /// <summary>How sectors are encrypted, those of key material too.</summary>
    public required LuksCipher Cipher { get; init; }

    /// <summary>The digest of PBKDF2 and of the anti-forensic splitter.</summary>
    public required LuksHash Hash { get; init; }

    /// <summary>Where encrypted data would begin if it followed this header; in a qcow2 image it does not.</summary>
    public required long PayloadOffset { get; init; }

    /// <summary>20 bytes that only the right key gives.</summary>
    public required byte[] KeyDigest { get; init; }

    /// <summary>The salt of <see cref="KeyDigest"/>.</summary>
    public required byte[] KeyDigestSalt { get; init; }

    /// <summary>The rounds of <see cref="KeyDigest"/>.</summary>
    public required int KeyDigestIterations { get; init; }

    public required string Uuid { get; init; }

    public required IReadOnlyList<LuksKeySlot> Slots { get; init; }

    /// <summary>Bytes of the key material of one slot.</summary>
    public int KeyMaterialBytes => Cipher.KeyBytes * Stripes;

    /// <summary>Parses and checks a header.</summary>
    /// <param name="start">its first <see cref="Length"/> bytes at least</param>
    /// <param name="bytes">how long it is with all key material</param>
    /// <param name="path">of the image, for messages</param>
    /// <exception cref="ImageFormatException">it is not a LUKS header, is damaged, or of a kind that is not supported</exception>
    public static LuksHeader Parse(ReadOnlySpan<byte> start, long bytes, string path) => new Parser(start, bytes, path).Parse();

    private readonly ref struct Parser(ReadOnlySpan<byte> start, long bytes, string path)
    {
        private readonly ReadOnlySpan<byte> _start = start;

        public LuksHeader Parse()
        {
            if (_start.Length < Length)
                throw Bad("length", $"LUKS header is cut off: {_start.Length} bytes, a header has {Length}");
            if (!_start[..6].SequenceEqual(Magic))
                throw Bad("magic", $"not a LUKS header: magic is {Convert.ToHexStringLower(_start[..6])}");
            var version = BinaryPrimitives.ReadUInt16BigEndian(_start[6..]);
            if (version == 2)
                throw Unsupported("version", "LUKS2 is not supported: qcow2 images have LUKS1 headers");
            if (version != 1)
                throw Unsupported("version", $"version {version} of LUKS is not supported, only 1 is");
            var fault = LuksCipher.Parse(Text(8, "cipher-name"), Text(40, "cipher-mode"), U32(108), out var cipher);
            if (fault is var (field, why))
                throw Unsupported(field, why);
            var hashName = Text(72, "hash-spec");
            if (LuksHashes.Words.TryParse(hashName) is not { } hash)
                throw Unsupported("hash-spec", $"hash \"{hashName}\" is not supported, only {LuksHashes.Words} are");
            var payload = (long)U32(104) * SectorSize;
            if (payload < FirstKeyOffset)
                throw Bad("payload-offset", $"payload-offset {payload} is inside the LUKS header");
            var slots = ReadSlots(cipher.KeyBytes * Stripes, payload);
            return new LuksHeader
            {
                Cipher = cipher,
                Hash = hash,
                PayloadOffset = payload,
                KeyDigest = _start.Slice(112, DigestLength).ToArray(),
                KeyDigestSalt = _start.Slice(132, SaltLength).ToArray(),
                KeyDigestIterations = Iterations(164, "mk-digest-iterations"),
                Uuid = Text(168, "uuid", 40),
                Slots = slots,
            };
        }

        private LuksKeySlot[] ReadSlots(int materialBytes, long payload)
        {
            var slots = new LuksKeySlot[SlotCount];
            for (var i = 0; i < SlotCount; i++)
                slots[i] = ReadSlot(i, 208 + (i * 48), materialBytes, payload);
            for (var i = 0; i < SlotCount; i++)
            {
                for (var j = 0; j < i; j++)
                {
                    if (Math.Abs(slots[i].Offset - slots[j].Offset) < materialBytes)
                        throw Bad("key-material-offset", $"key material of key slots {j} and {i} overlaps");
                }
            }

            return slots;
        }

        private LuksKeySlot ReadSlot(int slot, int at, int materialBytes, long payload)
        {
            var active = U32(at);
            if (active is not (SlotEnabled or SlotDisabled))
                throw Bad("active", $"key slot {slot} is neither enabled nor disabled (0x{active:x8})");
            var stripes = U32(at + 44);
            if (stripes != Stripes)
                throw Bad("stripes", $"key slot {slot} has {stripes} stripes, must have {Stripes}");
            var offset = (long)U32(at + 40) * SectorSize;
            if (offset < FirstKeyOffset)
                throw Bad("key-material-offset", $"key material of key slot {slot} at {offset} overlaps the LUKS header");
            if (offset + materialBytes > payload)
                throw Bad("key-material-offset", $"key material of key slot {slot} at {offset} reaches past the payload offset {payload}");
            var isActive = active == SlotEnabled;
            if (isActive && offset + materialBytes > bytes)
                throw Bad("key-material-offset", $"key material of key slot {slot} at {offset} ends past the header of {bytes} bytes");
            var iterations = isActive ? Iterations(at + 4, $"key slot {slot}: iterations") : 0;
            return new LuksKeySlot(isActive, iterations, _start.Slice(at + 8, SaltLength).ToArray(), offset, Stripes);
        }

        private int Iterations(int at, string what) => U32(at) is var stored and > 0 and <= Limits.MaxLuksIterations
            ? (int)stored : throw Bad("iterations", $"{what} {U32(at)} is not in 1..{Limits.MaxLuksIterations}");

        private string Text(int at, string field, int room = 32)
        {
            var bytes = _start.Slice(at, room);
            var end = bytes.IndexOf((byte)0);
            if (end < 0)
                throw Bad(field, $"{field} \"{Printable.Escape(bytes)}\" does not end");
            return bytes[..end].ContainsAnyExceptInRange((byte)0x20, (byte)0x7e)
                ? throw Bad(field, $"{field} \"{Printable.Escape(bytes[..end])}\" has unprintable characters")
                : Encoding.ASCII.GetString(bytes[..end]);
        }

        private uint U32(int at) => BinaryPrimitives.ReadUInt32BigEndian(_start[at..]);

        private ImageFormatException Bad(string field, string message) => new(path, field, $"encryption header: {message}");

        private ImageFormatException Unsupported(string field, string message) =>
            new(path, field, $"encryption header: {message}") { IsUnsupported = true };
    }
}
