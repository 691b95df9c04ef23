using static Tmds.Linux.LibC;

namespace Qcow2Blk.Interop;

/// <summary>The kernel's NBD device: <c>linux/nbd-netlink.h</c>, and the ioctls of <c>linux/nbd.h</c>.</summary>
internal static unsafe class NbdDevice
{
    internal const string NBD_GENL_FAMILY_NAME = "nbd";
    internal const byte NBD_GENL_VERSION = 1;
    internal const string NBD_GENL_MCAST_GROUP_NAME = "nbd_mc_group";

    internal const byte NBD_CMD_CONNECT = 1;
    internal const byte NBD_CMD_DISCONNECT = 2;
    internal const byte NBD_CMD_RECONFIGURE = 3;
    internal const byte NBD_CMD_LINK_DEAD = 4;
    internal const byte NBD_CMD_STATUS = 5;

    internal const ushort NBD_ATTR_INDEX = 1;
    internal const ushort NBD_ATTR_SIZE_BYTES = 2;
    internal const ushort NBD_ATTR_BLOCK_SIZE_BYTES = 3;
    internal const ushort NBD_ATTR_TIMEOUT = 4;
    internal const ushort NBD_ATTR_SERVER_FLAGS = 5;
    internal const ushort NBD_ATTR_CLIENT_FLAGS = 6;
    internal const ushort NBD_ATTR_SOCKETS = 7;
    internal const ushort NBD_ATTR_DEAD_CONN_TIMEOUT = 8;
    internal const ushort NBD_ATTR_DEVICE_LIST = 9;
    internal const ushort NBD_ATTR_BACKEND_IDENTIFIER = 10;

    internal const ushort NBD_SOCK_ITEM = 1;
    internal const ushort NBD_SOCK_FD = 1;
    internal const ushort NBD_DEVICE_ITEM = 1;
    internal const ushort NBD_DEVICE_INDEX = 1;
    internal const ushort NBD_DEVICE_CONNECTED = 2;

    internal const uint NBD_SET_SOCK = 0xab00;
    internal const uint NBD_SET_BLKSIZE = 0xab01;
    internal const uint NBD_DO_IT = 0xab03;
    internal const uint NBD_CLEAR_SOCK = 0xab04;
    internal const uint NBD_SET_SIZE_BLOCKS = 0xab07;
    internal const uint NBD_DISCONNECT = 0xab08;
    internal const uint NBD_SET_TIMEOUT = 0xab09;
    internal const uint NBD_SET_FLAGS = 0xab0a;

    /// <summary>An ioctl of a device node, whose argument is a number.</summary>
    /// <returns>0 or more, or a negative errno</returns>
    internal static int Control(int fd, uint request, nint argument) => Errno.Of(ioctl(fd, (int)request, (void*)argument));
}
