using System;
using System.Runtime.InteropServices;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Exports.NbdKernel;

/// <summary>One message of a datagram from the kernel.</summary>
internal readonly ref struct NetlinkMessage
{
    // sizeof(struct nlmsghdr)
    private const int HeaderLength = 16;

    internal required Netlink.nlmsghdr Header { get; init; }

    /// <summary>What follows the netlink header.</summary>
    internal required ReadOnlySpan<byte> Body { get; init; }

    /// <summary>The command of a generic netlink message.</summary>
    internal byte Command => Body.IsEmpty ? (byte)0 : Body[0];

    /// <summary>The attributes of a generic netlink message.</summary>
    internal NetlinkAttributes Attributes => new(Body.Length >= 4 ? Body[4..] : default);

    /// <summary>Takes the first message off a datagram.</summary>
    /// <returns>false at the end, or where the bytes are no whole message</returns>
    internal static bool TryTake(scoped ref ReadOnlySpan<byte> datagram, out NetlinkMessage message)
    {
        message = default;
        if (datagram.Length < HeaderLength)
            return false;
        var header = MemoryMarshal.Read<Netlink.nlmsghdr>(datagram);
        if (header.nlmsg_len < HeaderLength || header.nlmsg_len > datagram.Length)
            return false;
        var length = (int)header.nlmsg_len;
        message = new NetlinkMessage { Header = header, Body = datagram[HeaderLength..length] };
        datagram = datagram[Math.Min(datagram.Length, (length + 3) & ~3)..];
        return true;
    }

    /// <summary>What an acknowledgement says.</summary>
    /// <param name="text">the kernel's words, if it had any</param>
    /// <returns>0 or a negative errno; -EBADMSG if it is none</returns>
    internal int ReadError(out string? text)
    {
        const int badMessage = 74; // EBADMSG
        text = null;
        var inner = 4 + HeaderLength;
        if (Header.nlmsg_type != Netlink.NLMSG_ERROR || Body.Length < inner)
            return -badMessage;
        var error = MemoryMarshal.Read<int>(Body);
        if ((Header.nlmsg_flags & Netlink.NLM_F_ACK_TLVS) == 0)
            return error;

        // Our own message comes back before the attributes, unless it was capped.
        var skip = inner;
        if ((Header.nlmsg_flags & Netlink.NLM_F_CAPPED) == 0)
        {
            var original = MemoryMarshal.Read<Netlink.nlmsghdr>(Body[4..]).nlmsg_len;
            if (original < HeaderLength || original > Body.Length - 4)
                return error;
            skip = 4 + (int)((original + 3) & ~3u);
        }

        if (skip <= Body.Length && new NetlinkAttributes(Body[skip..]).TryFind(Netlink.NLMSGERR_ATTR_MSG, out var words))
            text = NetlinkAttributes.Text(words);
        return error;
    }
}
