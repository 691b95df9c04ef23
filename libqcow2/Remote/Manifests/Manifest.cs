using System;
using System.Diagnostics.CodeAnalysis;
using Qcow2Blk.Crypto;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Remote.Manifests;

/// <summary>
/// What every chunk of a base has to be, as a manifest says it whose root somebody trusts. The root is the SHA-256 of the whole
/// manifest, so <c>sha256sum</c> shows it. Any thread.
/// </summary>
internal sealed class Manifest : IChunkProof
{
    /// <summary>The longest manifest there is: more need not be fetched to see that it is none.</summary>
    public const int MaxBytes = ManifestHeader.Bytes + (ManifestHeader.MaxChunks * ManifestHeader.HashBytes);

    private readonly byte[] _file;
    private readonly ManifestHeader _header;
    private readonly byte[] _zeroes;
    private readonly byte[] _lastZeroes;

    private Manifest(byte[] file, in ManifestHeader header, string root)
    {
        _file = file;
        _header = header;
        Root = root;
        _zeroes = HashOfZeroes(header.ChunkBytes);
        _lastZeroes = HashOfZeroes(BytesOf(header.Chunks - 1));
    }

    public int ChunkBytes => _header.ChunkBytes;

    public long Length => _header.Length;

    public string Root { get; }

    /// <summary>How many there are.</summary>
    public long Chunks => _header.Chunks;

    /// <summary>Reads a manifest of whatever origin: nothing in it is looked at before its root is the right one.</summary>
    /// <param name="file">all of it</param>
    /// <param name="root">what its SHA-256 has to be, 64 hexadecimal digits</param>
    /// <param name="manifest">the manifest, with a copy of what it needs</param>
    /// <returns>null, or what is wrong</returns>
    public static string? Parse(ReadOnlySpan<byte> file, string root, out Manifest? manifest)
    {
        manifest = null;
        if (!TryReadRoot(root, out var wanted))
            return $"the root hash \"{root}\" does not have 64 hexadecimal digits";
        if (file.Length > MaxBytes)
            return $"it has {file.Length} bytes, more than {MaxBytes}, the longest manifest";
        if (LibCrypto.Load() is { } failure)
            return $"SHA-256 cannot be computed: {failure}";
        var found = RootOf(file);
        return found == wanted
            ? Read(file, found, out manifest)
            : $"its root hash is {found}, not {wanted}";
    }

    /// <summary>Reads a manifest that lies beside what it is compared with, and whose root the user is told.</summary>
    /// <returns>null, or what is wrong</returns>
    public static string? ParseTrusted(ReadOnlySpan<byte> file, out Manifest? manifest)
    {
        manifest = null;
        return LibCrypto.Load() is { } failure ? $"SHA-256 cannot be computed: {failure}" : Read(file, RootOf(file), out manifest);
    }

    /// <summary>The root of a manifest, as it is printed.</summary>
    public static string RootOf(ReadOnlySpan<byte> file)
    {
        Span<byte> hash = stackalloc byte[ManifestHeader.HashBytes];
        Digests.Sha256(file, hash);
        return Convert.ToHexStringLower(hash);
    }

    /// <summary>The hash of a chunk of zeroes.</summary>
    public static byte[] HashOfZeroes(int length)
    {
        var hash = new byte[ManifestHeader.HashBytes];
        Digests.Sha256(new byte[length], hash);
        return hash;
    }

    /// <summary>Bytes of a chunk: of the last one what is left.</summary>
    public int BytesOf(long chunk) => (int)Math.Min(ChunkBytes, Length - (chunk * ChunkBytes));

    /// <summary>What the hash of a chunk has to be.</summary>
    public ReadOnlySpan<byte> HashOf(long chunk)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(chunk);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(chunk, Chunks);
        return _file.AsSpan(ManifestHeader.Bytes + ((int)chunk * ManifestHeader.HashBytes), ManifestHeader.HashBytes);
    }

    public bool IsZero(long chunk) => HashOf(chunk).SequenceEqual(chunk == Chunks - 1 ? _lastZeroes : _zeroes);

    public bool Holds(long chunk, ReadOnlySpan<byte> bytes)
    {
        var wanted = HashOf(chunk);
        if (bytes.Length != BytesOf(chunk))
            return false;
        Span<byte> hash = stackalloc byte[ManifestHeader.HashBytes];
        Digests.Sha256(bytes, hash);
        return wanted.SequenceEqual(hash);
    }

    private static string? Read(ReadOnlySpan<byte> file, string root, out Manifest? manifest)
    {
        manifest = null;
        if (ManifestHeader.Read(file, out var header) is { } wrong)
            return wrong;
        manifest = new Manifest(file.ToArray(), header, root);
        return null;
    }

    private static bool TryReadRoot(string text, [NotNullWhen(true)] out string? root)
    {
        root = null;
        if (text.Length != 2 * ManifestHeader.HashBytes)
            return false;
        foreach (var digit in text)
        {
            if (!char.IsAsciiHexDigit(digit))
                return false;
        }

        root = text.ToLowerInvariant();
        return true;
    }
}
