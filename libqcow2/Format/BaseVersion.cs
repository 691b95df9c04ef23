using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Linq;
using System.Security.Cryptography;
using System.Text;

namespace Qcow2Blk.Format;

/// <summary>
/// A header extension of ours: over which version of a base in a store an overlay was written. Over another one it would hold a
/// damaged file system. Other programs keep the extensions that they do not know.
/// </summary>
/// <param name="Length">bytes of the base</param>
/// <param name="Version">what its source tells it by, printable ASCII; empty if nothing does</param>
internal sealed record BaseVersion(long Length, string Version)
{
    /// <summary>"q2bv", in no list of the specification.</summary>
    public const uint Type = 0x71326276;

    /// <summary>
    /// Bytes of the extension's data: 8 of <see cref="Length"/>, the rest is <see cref="Version"/>, filled up with zeroes.
    /// </summary>
    public const int DataLength = 96;

    private const int MaxVersion = DataLength - sizeof(long);

    /// <summary>What is longer, or not printable, is told by its hash.</summary>
    public static BaseVersion Of(long length, string? version)
    {
        var text = version ?? "";
        return new BaseVersion(length, text.Length <= MaxVersion && text.All(IsPrintable) ? text : "hash:" + HashOf(text));
    }

    /// <summary>All parts of a chain that lie in stores: the base, its own base, its data file.</summary>
    /// <param name="parts">at least one; the base first</param>
    public static BaseVersion Of(IReadOnlyList<(long Length, string? Version)> parts)
    {
        var (length, version) = parts[0];
        return parts.Count == 1 ? Of(length, version)
            : Of(length, "chain:" + HashOf(string.Join('\n', parts.Select(part => $"{part.Length} {part.Version}"))));
    }

    /// <summary>Whether nothing speaks against a base being the one that this was noted of.</summary>
    public bool Allows(BaseVersion found) => Length == found.Length && (Version.Length == 0 || Version == found.Version);

    /// <returns>null if the image has none</returns>
    /// <exception cref="ImageFormatException">it is damaged</exception>
    public static BaseVersion? In(Header header)
    {
        if (header.Extensions.FirstOrDefault(extension => extension.Type == Type) is not { Data: var data })
            return null;
        if (data.Length != DataLength)
            throw Bad(header, $"base version extension has {data.Length} bytes, must have {DataLength}");
        var length = BinaryPrimitives.ReadInt64BigEndian(data);
        var version = data.AsSpan(sizeof(long)).TrimEnd((byte)0);
        if (length <= 0 || version.ContainsAnyExceptInRange((byte)' ', (byte)'~'))
            throw Bad(header, $"base version extension is of {length} bytes and \"{Encoding.Latin1.GetString(version)}\"");
        return new BaseVersion(length, Encoding.ASCII.GetString(version));
    }

    /// <param name="cluster">the whole first cluster of a version 3 image</param>
    /// <param name="path">of the image, for messages</param>
    /// <returns>what the cluster is to hold, one after the other, each on disk before the next is begun</returns>
    /// <exception cref="ImageFormatException">the header has no room for it, or is damaged</exception>
    public IReadOnlyList<byte[]> Plan(ReadOnlySpan<byte> cluster, string path)
    {
        var edit = new HeaderEdit(cluster, path);
        if (edit.Scan(out _).Find(extension => extension.Type == Type) is not { } present)
        {
            edit.Append(Type, "version of its base", Encode());
        }
        else if (present.Data.Length != DataLength)
        {
            throw edit.Bad($"base version extension has {present.Data.Length} bytes, must have {DataLength}");
        }
        else
        {
            // It may lie in two sectors: then a mixture of both is no version of anything, and is refused like the old one.
            edit.Write(present.Offset + HeaderExtension.PrefixLength, Encode());
        }

        return edit.Steps;
    }

    public override string ToString() => Version.Length == 0 ? $"{Length} bytes" : $"{Version} of {Length} bytes";

    private byte[] Encode()
    {
        var data = new byte[DataLength];
        BinaryPrimitives.WriteInt64BigEndian(data, Length);
        _ = Encoding.ASCII.GetBytes(Version, data.AsSpan(sizeof(long)));
        return data;
    }

    private static bool IsPrintable(char letter) => letter is >= ' ' and <= '~';

    private static string HashOf(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));

    private static ImageFormatException Bad(Header header, string why) => new(header.Path, "header_extension", why);
}
