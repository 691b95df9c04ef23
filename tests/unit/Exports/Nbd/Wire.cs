using System;
using System.Buffers;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text;
using Qcow2Blk.Exports.Nbd;

namespace Qcow2Blk.Tests.Exports.Nbd;

/// <summary>Client bytes written with the numbers of the specification, not with the constants under test.</summary>
internal static class Wire
{
    public static readonly byte[] FixedNewstyle = Hex("00000001");

    public static readonly byte[] FixedNewstyleNoZeroes = Hex("00000003");

    public static byte[] Hex(string text) => Convert.FromHexString(text.Replace(" ", "", StringComparison.Ordinal));

    public static byte[] Join(params byte[][] parts) => parts.SelectMany(part => part).ToArray();

    public static byte[] U16(int value) => Hex(value.ToString("x4", CultureInfo.InvariantCulture));

    public static byte[] U32(uint value) => Hex(value.ToString("x8", CultureInfo.InvariantCulture));

    public static byte[] U64(ulong value) => Hex(value.ToString("x16", CultureInfo.InvariantCulture));

    public static byte[] Text(string text) => Encoding.UTF8.GetBytes(text);

    public static byte[] Counted(string text) => Join(U32((uint)Text(text).Length), Text(text));

    public static byte[] Option(uint option, params byte[][] data) =>
        Join(Hex("49484156454F5054"), U32(option), U32((uint)Join(data).Length), Join(data));

    public static byte[] ExportName(string name) => Option(1, Text(name));

    public static byte[] Abort() => Option(2);

    public static byte[] List() => Option(3);

    public static byte[] Info(string name, params int[] infos) => Option(6, InfoData(name, infos));

    public static byte[] Go(string name, params int[] infos) => Option(7, InfoData(name, infos));

    public static byte[] StructuredReply() => Option(8);

    public static byte[] ListContexts(string name, params string[] queries) => Option(9, Queries(name, queries));

    public static byte[] SetContexts(string name, params string[] queries) => Option(10, Queries(name, queries));

    public static byte[] ExtendedHeaders() => Option(11);

    public static byte[] Request(int flags, int type, ulong cookie, ulong offset, uint length) =>
        Join(Hex("25609513"), U16(flags), U16(type), U64(cookie), U64(offset), U32(length));

    public static byte[] ExtendedRequest(int flags, int type, ulong cookie, ulong offset, ulong length) =>
        Join(Hex("21e41c71"), U16(flags), U16(type), U64(cookie), U64(offset), U64(length));

    public static byte[] InfoData(string name, params int[] infos) =>
        Join(Counted(name), U16(infos.Length), Join(infos.Select(U16).ToArray()));

    public static byte[] Queries(string name, params string[] queries) =>
        Join(Counted(name), U32((uint)queries.Length), Join(queries.Select(Counted).ToArray()));
}

/// <summary>One reply to an option, as a client sees it.</summary>
internal sealed record OptionReply(uint Option, uint Type, byte[] Data)
{
    public const uint Ack = 1;
    public const uint Server = 2;
    public const uint Info = 3;
    public const uint MetaContext = 4;
    public const uint Unsupported = 0x80000001;
    public const uint Invalid = 0x80000003;
    public const uint Unknown = 0x80000006;
    public const uint TooBig = 0x80000009;
    public const uint ExtendedHeadersRequired = 0x8000000a;

    public string Text => Encoding.UTF8.GetString(Data);

    public static List<OptionReply> Parse(ReadOnlySpan<byte> bytes)
    {
        var replies = new List<OptionReply>();
        while (!bytes.IsEmpty)
        {
            if (!bytes[..8].SequenceEqual(Wire.Hex("0003e889045565a9")))
                throw new InvalidOperationException($"no option reply: {Convert.ToHexString(bytes)}");
            var length = System.Buffers.Binary.BinaryPrimitives.ReadInt32BigEndian(bytes[16..]);
            replies.Add(new OptionReply(
                System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(bytes[8..]),
                System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(bytes[12..]),
                bytes.Slice(20, length).ToArray()));
            bytes = bytes[(20 + length)..];
        }

        return replies;
    }
}

/// <summary>What a handshake did with some client bytes.</summary>
internal sealed record Outcome(Handshake Handshake, HandshakeStatus Status, int Consumed, byte[] Output)
{
    public List<OptionReply> Replies => OptionReply.Parse(Output);

    public NegotiatedSession Session => Handshake.Session;

    public static Outcome Of(IExportCatalog catalog, params byte[][] input)
    {
        var handshake = new Handshake(catalog);
        var output = new ArrayBufferWriter<byte>();
        var status = handshake.Advance(Wire.Join(input), out var consumed, output);
        return new Outcome(handshake, status, consumed, output.WrittenSpan.ToArray());
    }
}

internal sealed class Catalog(params ExportInfo[] exports) : IExportCatalog
{
    public static readonly ExportInfo Disk = new()
    {
        Name = "disk",
        Description = "a disk",
        Size = 16 << 20,
        MultiConnection = true,
        CanTrim = true,
        CanZero = true,
        CanFastZero = true,
        CanCache = true,
    };

    public static readonly ExportInfo Frozen = new() { Name = "früh", Size = 1 << 20, ReadOnly = true };

    /// <summary>Two exports; "disk" is the default.</summary>
    public static readonly Catalog Two = new(Disk, Frozen);

    public IReadOnlyList<ExportInfo> List() => exports;

    public bool TryFind(string name, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out ExportInfo? export)
    {
        export = name.Length == 0 ? exports.FirstOrDefault() : exports.FirstOrDefault(candidate => candidate.Name == name);
        return export is not null;
    }
}
