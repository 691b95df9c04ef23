using System;
using System.Runtime.InteropServices;
using System.Text;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Exports.NbdKernel;

/// <summary>A run of attributes. Ends where the bytes are no whole attribute.</summary>
internal ref struct NetlinkAttributes(ReadOnlySpan<byte> bytes)
{
    private const int HeaderLength = 4;

    private ReadOnlySpan<byte> _rest = bytes;

    /// <summary>Takes the first attribute off.</summary>
    internal bool TryTake(out ushort type, out ReadOnlySpan<byte> value)
    {
        type = 0;
        value = default;
        if (_rest.Length < HeaderLength)
            return false;
        var header = MemoryMarshal.Read<Netlink.nlattr>(_rest);
        if (header.nla_len < HeaderLength || header.nla_len > _rest.Length)
            return false;
        type = (ushort)(header.nla_type & Netlink.NLA_TYPE_MASK);
        value = _rest[HeaderLength..header.nla_len];
        _rest = _rest[Math.Min(_rest.Length, (header.nla_len + 3) & ~3)..];
        return true;
    }

    /// <summary>The first attribute of a type.</summary>
    internal readonly bool TryFind(ushort wanted, out ReadOnlySpan<byte> value)
    {
        var rest = this;
        while (rest.TryTake(out var type, out value))
        {
            if (type == wanted)
                return true;
        }

        return false;
    }

    internal readonly bool TryFindUInt32(ushort wanted, out uint value)
    {
        value = 0;
        if (!TryFind(wanted, out var bytes) || bytes.Length < sizeof(uint))
            return false;
        value = MemoryMarshal.Read<uint>(bytes);
        return true;
    }

    /// <summary>A string, up to its NUL if it has one.</summary>
    internal static string Text(ReadOnlySpan<byte> value)
    {
        var end = value.IndexOf((byte)0);
        return Encoding.UTF8.GetString(end < 0 ? value : value[..end]);
    }
}
