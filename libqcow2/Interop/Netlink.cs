using System;
using System.Runtime.InteropServices;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Interop;

/// <summary><c>linux/netlink.h</c> and <c>linux/genetlink.h</c>: the numbers, the headers and the socket.</summary>
internal static unsafe class Netlink
{
    internal const int NETLINK_GENERIC = 16;
    internal const int NETLINK_ADD_MEMBERSHIP = 1;
    internal const int NETLINK_CAP_ACK = 10;
    internal const int NETLINK_EXT_ACK = 11;

    internal const ushort NLM_F_REQUEST = 0x01;
    internal const ushort NLM_F_ACK = 0x04;
    internal const ushort NLM_F_CAPPED = 0x100;
    internal const ushort NLM_F_ACK_TLVS = 0x200;

    internal const ushort NLMSG_ERROR = 2;
    internal const ushort NLMSGERR_ATTR_MSG = 1;

    internal const ushort NLA_F_NESTED = 0x8000;
    internal const ushort NLA_TYPE_MASK = 0x3fff;

    internal const ushort GENL_ID_CTRL = 16;
    internal const byte CTRL_CMD_NEWFAMILY = 1;
    internal const byte CTRL_CMD_GETFAMILY = 3;
    internal const ushort CTRL_ATTR_FAMILY_ID = 1;
    internal const ushort CTRL_ATTR_FAMILY_NAME = 2;
    internal const ushort CTRL_ATTR_MCAST_GROUPS = 7;
    internal const ushort CTRL_ATTR_MCAST_GRP_NAME = 1;
    internal const ushort CTRL_ATTR_MCAST_GRP_ID = 2;

    /// <summary>struct nlmsghdr.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct nlmsghdr
    {
        public uint nlmsg_len;
        public ushort nlmsg_type;
        public ushort nlmsg_flags;
        public uint nlmsg_seq;
        public uint nlmsg_pid;
    }

    /// <summary>struct genlmsghdr.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct genlmsghdr
    {
        public byte cmd;
        public byte version;
        public ushort reserved;
    }

    /// <summary>struct nlattr.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct nlattr
    {
        public ushort nla_len;
        public ushort nla_type;
    }

    /// <summary>struct sockaddr_nl.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct sockaddr_nl
    {
        public ushort nl_family;
        public ushort nl_pad;
        public uint nl_pid;
        public uint nl_groups;
    }

    /// <summary>A generic netlink socket that the kernel has given an address.</summary>
    /// <returns>the socket, or a negative errno</returns>
    internal static int OpenGeneric()
    {
        var fd = Errno.Of(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC));
        if (fd < 0)
            return fd;
        var address = new sockaddr_nl { nl_family = (ushort)AF_NETLINK };
        var error = Errno.Of(bind(fd, (sockaddr*)&address, sizeof(sockaddr_nl)));
        if (error < 0)
        {
            Files.Close(fd);
            return error;
        }

        // Neither is needed: without them errors come without the kernel's words, and with our own message behind them.
        Sockets.SetOption(fd, SOL_NETLINK, NETLINK_EXT_ACK, 1);
        Sockets.SetOption(fd, SOL_NETLINK, NETLINK_CAP_ACK, 1);
        return fd;
    }

    /// <summary>Subscribes to a multicast group.</summary>
    /// <returns>0 or a negative errno</returns>
    internal static int Join(int fd, uint group) => Sockets.SetOption(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, (int)group);

    /// <summary>Sends a message to the kernel, which acts on it before this returns.</summary>
    /// <returns>bytes sent, or a negative errno</returns>
    internal static long Send(int fd, ReadOnlySpan<byte> message)
    {
        var kernel = new sockaddr_nl { nl_family = (ushort)AF_NETLINK };
        fixed (byte* start = message)
        {
            long result;
            do
                result = Errno.Of((long)sendto(fd, start, message.Length, 0, (sockaddr*)&kernel, sizeof(sockaddr_nl)));
            while (result == -Errno.EINTR);
            return result;
        }
    }

    /// <summary>Receives one datagram; what does not fit is an error.</summary>
    /// <param name="fd">the socket</param>
    /// <param name="buffer">room for it</param>
    /// <param name="wait">whether to wait for one</param>
    /// <returns>its bytes, or a negative errno: -EAGAIN if there is none, -ENOMEM if it is larger than the room</returns>
    internal static int Receive(int fd, Span<byte> buffer, bool wait)
    {
        fixed (byte* start = buffer)
        {
            while (true)
            {
                sockaddr_nl from = default;
                socklen_t length = sizeof(sockaddr_nl);
                var result =
                    Errno.Of((long)recvfrom(fd, start, buffer.Length, MSG_TRUNC | (wait ? 0 : MSG_DONTWAIT), (sockaddr*)&from, &length));
                if (result == -Errno.EINTR || (result >= 0 && from.nl_pid != 0))
                    continue; // Only the kernel is listened to.
                return result > buffer.Length ? -Errno.ENOMEM : (int)result;
            }
        }
    }
}
