using System;
using System.Buffers;
using System.Runtime.InteropServices;
using System.Text;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Exports.NbdKernel;

/// <summary>
/// Builds one generic netlink request: the headers, then attributes of four-byte alignment. Numbers are in the byte order
/// of the machine.
/// </summary>
internal sealed class NetlinkWriter
{
    private readonly ArrayBufferWriter<byte> _bytes = new(256);

    /// <param name="family">number of the family</param>
    /// <param name="command">command of the family</param>
    /// <param name="version">version of the family's interface</param>
    /// <param name="sequence">comes back in the answers</param>
    internal NetlinkWriter(ushort family, byte command, byte version, uint sequence)
    {
        var header = new Netlink.nlmsghdr
        {
            nlmsg_type = family,
            nlmsg_flags = Netlink.NLM_F_REQUEST | Netlink.NLM_F_ACK,
            nlmsg_seq = sequence,
        };
        Append(MemoryMarshal.AsBytes(new ReadOnlySpan<Netlink.nlmsghdr>(in header)));
        var generic = new Netlink.genlmsghdr { cmd = command, version = version };
        Append(MemoryMarshal.AsBytes(new ReadOnlySpan<Netlink.genlmsghdr>(in generic)));
    }

    internal NetlinkWriter Add(ushort type, uint value) => AddBytes(type, MemoryMarshal.AsBytes(new ReadOnlySpan<uint>(in value)));

    internal NetlinkWriter Add(ushort type, ulong value) => AddBytes(type, MemoryMarshal.AsBytes(new ReadOnlySpan<ulong>(in value)));

    /// <summary>A string with its final NUL.</summary>
    internal NetlinkWriter Add(ushort type, string value) => AddBytes(type, Encoding.UTF8.GetBytes(value + '\0'));

    /// <summary>Attributes in an attribute.</summary>
    internal NetlinkWriter AddNested(ushort type, Action<NetlinkWriter> content)
    {
        var start = _bytes.WrittenCount;
        Append(stackalloc byte[4]);
        content(this);
        WriteAttributeHeader(start, type | Netlink.NLA_F_NESTED, _bytes.WrittenCount - start);
        return this;
    }

    /// <summary>The whole message, its length filled in.</summary>
    internal ReadOnlySpan<byte> Finish()
    {
        var length = (uint)_bytes.WrittenCount;
        MemoryMarshal.Write(Written(0, 4), in length);
        return _bytes.WrittenSpan;
    }

    private NetlinkWriter AddBytes(ushort type, ReadOnlySpan<byte> value)
    {
        var start = _bytes.WrittenCount;
        Append(stackalloc byte[4]);
        Append(value);
        WriteAttributeHeader(start, type, 4 + value.Length);
        Append(stackalloc byte[-value.Length & 3]);
        return this;
    }

    private void WriteAttributeHeader(int start, int type, int length)
    {
        var header = new Netlink.nlattr { nla_len = checked((ushort)length), nla_type = (ushort)type };
        MemoryMarshal.Write(Written(start, 4), in header);
    }

    private void Append(ReadOnlySpan<byte> bytes) => _bytes.Write(bytes);

    private Span<byte> Written(int start, int length) =>
        MemoryMarshal.AsMemory(_bytes.WrittenMemory).Span.Slice(start, length);
}
