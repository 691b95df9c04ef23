using System;
using System.Buffers.Binary;
using System.Text;
using Qcow2Blk.Crypto;
using Qcow2Blk.Format;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Crypto;

/// <summary>Every field of a LUKS header is checked before anything is computed from it.</summary>
public sealed class LuksHeaderTests
{
    private static readonly byte[] s_sound = Make();

    [Fact]
    public void Sound_header_is_read()
    {
        var header = Parse(s_sound);
        Assert.Equal(new LuksCipher(64, CipherMode.Xts, IvGenerator.Plain64, null), header.Cipher);
        Assert.Equal(LuksHash.Sha256, header.Hash);
        Assert.Equal(2068480, header.PayloadOffset);
        Assert.Equal(8, header.Slots.Count);
        Assert.True(header.Slots[0].IsActive);
        Assert.False(header.Slots[7].IsActive);
        Assert.Equal(1810432, header.Slots[7].Offset);
        Assert.Equal("aes-256", header.Cipher.Algorithm);
        Assert.Equal("xts-plain64", header.Cipher.ModeName);
    }

    [Theory]
    [InlineData(0, 0x4d, "not a LUKS header: magic is 4d554b53babe")]
    [InlineData(5, 0xbf, "not a LUKS header: magic is 4c554b53babf")]
    [InlineData(7, 2, "LUKS2 is not supported: qcow2 images have LUKS1 headers")]
    [InlineData(7, 3, "version 3 of LUKS is not supported, only 1 is")]
    [InlineData(6, 1, "version 257 of LUKS is not supported, only 1 is")]
    [InlineData(8, (byte)'b', "cipher \"bes\" is not supported, only \"aes\" is")]
    [InlineData(8, 7, "cipher-name \"\\x07es\" has unprintable characters")]
    [InlineData(40, (byte)'y', "cipher mode \"yts-plain64\" is not supported, only xts, cbc are")]
    [InlineData(43, (byte)'_', "cipher mode \"xts_plain64\" does not say how sectors are told apart, as in \"xts-plain64\"")]
    [InlineData(50, (byte)'5', "the vectors of cipher mode \"xts-plain65\" are not supported, only plain, plain64, essiv are")]
    [InlineData(51, (byte)':', "cipher mode \"xts-plain64:\" has a digest, which only essiv takes")]
    [InlineData(72, (byte)'t', "hash \"tha256\" is not supported, only sha1, sha224, sha256, sha384, sha512 are")]
    [InlineData(104, 0xff, "key material of key slot", false)]
    [InlineData(111, 65, "key-bytes 65 is not a key of aes-xts-plain64: it has 32 or 64")]
    [InlineData(164, 0xff, "mk-digest-iterations ", false)]
    [InlineData(168, 0xff, "uuid \"", false)]
    [InlineData(208, 1, "key slot 0 is neither enabled nor disabled (0x01ac71f3)")]
    [InlineData(212, 0xff, "key slot 0: iterations ", false)]
    [InlineData(250, 0xff, "key material of key slot 0 at ", false)]
    [InlineData(251, 0, "key material of key slot 0 at 0 overlaps the LUKS header")]
    [InlineData(254, 0, "key slot 0 has 160 stripes, must have 4000")]
    [InlineData(299, 8, "key material of key slots 0 and 1 overlaps", true, 298)]
    [InlineData(259, 0, "key slot 1 is neither enabled nor disabled (0x0000de00)")]
    public void Wrong_byte_is_refused_by_the_name_of_its_field(
        int offset, byte value, string message, bool isWhole = true, int cleared = -1)
    {
        var bytes = (byte[])s_sound.Clone();
        bytes[offset] = value;
        if (cleared >= 0)
            bytes[cleared] = 0;
        if (offset == 104)
            bytes[104] = bytes[105] = bytes[106] = 0;
        var refused = Assert.Throws<ImageFormatException>(() => Parse(bytes));
        if (isWhole)
            Assert.Equal($"image: encryption header: {message}", refused.Message);
        else
            Assert.StartsWith($"image: encryption header: {message}", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Payload_inside_the_header_is_refused()
    {
        var bytes = (byte[])s_sound.Clone();
        BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(104), 7);
        Assert.Equal("payload-offset", Assert.Throws<ImageFormatException>(() => Parse(bytes)).Field);
    }

    [Fact]
    public void Active_key_material_past_the_header_is_refused()
    {
        Assert.Equal("key-material-offset", Assert.Throws<ImageFormatException>(() => Parse(s_sound, 260_000)).Field);
        Assert.NotNull(Parse(s_sound, 260_096));
    }

    [Fact]
    public void Zero_iterations_are_refused()
    {
        var bytes = (byte[])s_sound.Clone();
        BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(212), 0);
        Assert.Contains(
            $"key slot 0: iterations 0 is not in 1..{Limits.MaxLuksIterations}", Assert.Throws<ImageFormatException>(() => Parse(bytes)).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Text_without_an_end_is_refused()
    {
        var bytes = (byte[])s_sound.Clone();
        bytes.AsSpan(8, 32).Fill((byte)'a');
        Assert.Equal("cipher-name", Assert.Throws<ImageFormatException>(() => Parse(bytes)).Field);
    }

    [Fact]
    public void Header_that_is_cut_off_is_refused()
    {
        foreach (var length in (int[])[0, 5, 591])
            Assert.Equal("length", Assert.Throws<ImageFormatException>(() => Parse(s_sound[..length])).Field);
    }

    /// <summary>Whatever bytes there are: a header or a refusal, and nothing else.</summary>
    [Fact]
    public void Damaged_header_is_refused_or_read()
    {
        var random = new Random(12);
        for (var i = 0; i < 20_000; i++)
        {
            var bytes = (byte[])s_sound.Clone();
            for (var changes = random.Next(1, 4); changes > 0; changes--)
                bytes[random.Next(LuksHeader.Length)] = (byte)random.Next(256);
            try
            {
                var header = Parse(bytes);
                Assert.All(header.Slots, slot => Assert.InRange(slot.Offset, 4096, header.PayloadOffset - header.KeyMaterialBytes));
            }
            catch (ImageFormatException refused)
            {
                Assert.StartsWith("image: encryption header: ", refused.Message, StringComparison.Ordinal);
            }
        }
    }

    [Theory]
    [InlineData("cbc-essiv:sha256", 32, null)]
    [InlineData("cbc-essiv:sha1", 32, "cipher-mode")]
    [InlineData("cbc-essiv", 32, "cipher-mode")]
    [InlineData("cbc-plain64", 16, null)]
    [InlineData("cbc-plain64", 24, "key-bytes")]
    [InlineData("cbc-plain64", 64, "key-bytes")]
    [InlineData("xts-plain64", 16, "key-bytes")]
    [InlineData("xts:sha256-plain", 32, "cipher-mode")]
    [InlineData("ecb", 16, "cipher-mode")]
    [InlineData("", 16, "cipher-mode")]
    public void Cipher_is_known_or_refused(string mode, uint keyBytes, string? field)
    {
        Assert.Equal(field, LuksCipher.Parse("aes", mode, keyBytes, out var cipher)?.Field);
        if (field is null)
            Assert.Equal(mode, cipher.ModeName);
    }

    private static LuksHeader Parse(byte[] bytes, long length = 2068480) =>
        LuksHeader.Parse(bytes, length, "image");

    private static byte[] Make()
    {
        using var key = LuksImage.Key();
        return LuksFormat.Make(new LuksFormatOptions { IterationTime = 1 }, key)[..LuksHeader.Length];
    }
}
