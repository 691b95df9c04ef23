using System;
using System.Buffers.Binary;
using System.Security.Cryptography;
using Qcow2Blk.Remote.Manifests;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Manifests;

/// <summary>Manifests as they are read: hostile ones too. SHA-256 here is .NET's.</summary>
public sealed class ManifestTests
{
    private const int ChunkBytes = 64 << 10, HeaderBytes = 32;

    /// <summary>Two whole chunks, the second of zeroes, and a short one of zeroes.</summary>
    private static readonly byte[] s_base = Base();

    [Fact]
    public void Chunks_hold_what_they_held_and_nothing_else()
    {
        var manifest = Parsed(Of(s_base));
        var changed = s_base[..ChunkBytes];
        changed[^1] ^= 1;

        Assert.Equal((s_base.Length, ChunkBytes, 3L), ((int)manifest.Length, manifest.ChunkBytes, manifest.Chunks));
        for (var chunk = 0; chunk < 3; chunk++)
            Assert.True(manifest.Holds(chunk, Chunk(chunk)));
        Assert.False(manifest.Holds(0, changed));
        Assert.False(manifest.Holds(1, Chunk(0)));
        Assert.False(manifest.Holds(2, Chunk(1)));
        Assert.False(manifest.Holds(0, s_base.AsSpan(0, ChunkBytes - 1)));
    }

    [Fact]
    public void Chunks_of_zeroes_are_known_the_short_one_too()
    {
        var manifest = Parsed(Of(s_base));

        Assert.Equal((false, true, true), (manifest.IsZero(0), manifest.IsZero(1), manifest.IsZero(2)));
    }

    [Fact]
    public void Root_is_the_hash_of_the_whole_file_in_either_case()
    {
        var file = Of(s_base);
        var root = Root(file);

        Assert.Null(Manifest.Parse(file, root.ToUpperInvariant(), out var manifest));
        Assert.Equal(root, manifest!.Root);
    }

    [Theory]
    [InlineData("")]
    [InlineData("12")]
    [InlineData("zz345678901234567890123456789012345678901234567890123456789012ab")]
    public void Root_that_is_not_one_is_refused(string root)
    {
        var why = Manifest.Parse(Of(s_base), root, out var manifest);

        Assert.Contains("64 hexadecimal digits", why, StringComparison.Ordinal);
        Assert.Null(manifest);
    }

    [Fact]
    public void Any_changed_bit_is_refused_by_the_root()
    {
        var file = Of(s_base);
        var root = Root(file);
        for (var bit = 0; bit < file.Length * 8; bit++)
        {
            file[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.Contains("root hash", Manifest.Parse(file, root, out var manifest), StringComparison.Ordinal);
            Assert.Null(manifest);
            file[bit / 8] ^= (byte)(1 << (bit % 8));
        }
    }

    /// <summary>A root proves who made it, not that its maker can count.</summary>
    [Theory]
    [InlineData(0, 0x514649fbUL, 4, "not a manifest")]
    [InlineData(4, 2UL, 4, "version is 2")]
    [InlineData(8, 0UL, 4, "0 bytes")]
    [InlineData(8, 98304UL, 4, "98304 bytes")]
    [InlineData(8, 32768UL, 4, "32768 bytes")]
    [InlineData(8, 0x80000000UL, 4, "2147483648 bytes")]
    [InlineData(8, 131072UL, 4, "3 chunks")]
    [InlineData(12, 2UL, 4, "digest is 2")]
    [InlineData(16, 0UL, 8, "length of its base is 0")]
    [InlineData(16, ulong.MaxValue, 8, "length of its base")]
    [InlineData(16, 0x7fffffffc0000000UL, 8, "3 chunks")]
    [InlineData(24, 2UL, 8, "2 chunks")]
    [InlineData(24, 0x100000003UL, 8, "4294967299 chunks")]
    public void Header_that_contradicts_itself_is_refused_under_a_root_of_its_own(int at, ulong value, int bytes, string expected)
    {
        var file = Of(s_base);
        if (bytes == 4)
            BinaryPrimitives.WriteUInt32BigEndian(file.AsSpan(at), (uint)value);
        else
            BinaryPrimitives.WriteUInt64BigEndian(file.AsSpan(at), value);

        Assert.Contains(expected, Manifest.Parse(file, Root(file), out var manifest), StringComparison.Ordinal);
        Assert.Null(manifest);
    }

    [Fact]
    public void Number_of_chunks_has_a_limit_that_the_length_cannot_pass()
    {
        var file = Of(s_base);
        var length = ((4L << 20) + 1) * ChunkBytes;
        BinaryPrimitives.WriteInt64BigEndian(file.AsSpan(16), length);
        BinaryPrimitives.WriteInt64BigEndian(file.AsSpan(24), (4L << 20) + 1);

        Assert.Contains("more than 4194304", Manifest.Parse(file, Root(file), out _), StringComparison.Ordinal);
        Assert.Equal(32 + (32 * (4 << 20)), Manifest.MaxBytes);
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(1)]
    [InlineData(-32)]
    [InlineData(32)]
    [InlineData(-112)]
    [InlineData(-128)]
    public void File_that_is_too_short_or_too_long_is_refused(int more)
    {
        var file = Of(s_base);
        Array.Resize(ref file, file.Length + more);

        Assert.NotNull(Manifest.Parse(file, Root(file), out var manifest));
        Assert.Null(manifest);
    }

    [Fact]
    public void Chunk_that_is_not_of_the_base_has_no_hash()
    {
        var manifest = Parsed(Of(s_base));

        Assert.Throws<ArgumentOutOfRangeException>(() => manifest.IsZero(3));
        Assert.Throws<ArgumentOutOfRangeException>(() => manifest.Holds(-1, []));
    }

    private static Manifest Parsed(byte[] file)
    {
        Assert.Null(Manifest.Parse(file, Root(file), out var manifest));
        return manifest!;
    }

    private static string Root(byte[] file) => Convert.ToHexStringLower(SHA256.HashData(file));

    private static ReadOnlySpan<byte> Chunk(int chunk) =>
        s_base.AsSpan(chunk * ChunkBytes, Math.Min(ChunkBytes, s_base.Length - (chunk * ChunkBytes)));

    private static byte[] Base()
    {
        var bytes = new byte[(2 * ChunkBytes) + 100];
        new Random(7).NextBytes(bytes.AsSpan(0, ChunkBytes));
        return bytes;
    }

    /// <summary>A manifest by another hand than ours.</summary>
    private static byte[] Of(byte[] bytes)
    {
        var chunks = (bytes.Length + ChunkBytes - 1) / ChunkBytes;
        var file = new byte[HeaderBytes + (chunks * 32)];
        "QCM"u8.CopyTo(file);
        file[3] = 0xfb;
        BinaryPrimitives.WriteInt32BigEndian(file.AsSpan(4), 1);
        BinaryPrimitives.WriteInt32BigEndian(file.AsSpan(8), ChunkBytes);
        BinaryPrimitives.WriteInt32BigEndian(file.AsSpan(12), 1);
        BinaryPrimitives.WriteInt64BigEndian(file.AsSpan(16), bytes.Length);
        BinaryPrimitives.WriteInt64BigEndian(file.AsSpan(24), chunks);
        for (var chunk = 0; chunk < chunks; chunk++)
        {
            SHA256.HashData(bytes.AsSpan(chunk * ChunkBytes, Math.Min(ChunkBytes, bytes.Length - (chunk * ChunkBytes))),
                file.AsSpan(HeaderBytes + (chunk * 32)));
        }

        return file;
    }
}
