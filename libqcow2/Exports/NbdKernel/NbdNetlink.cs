using System;
using System.Collections.Generic;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Exports.NbdKernel;

/// <summary>What a kernel NBD device is made of. <see cref="NbdNetlink"/> sends it.</summary>
internal sealed record NbdDeviceConfig
{
    /// <summary>N of /dev/nbdN; null lets the kernel choose the first free.</summary>
    internal int? Index { get; init; }

    internal long Size { get; init; }

    internal int BlockSize { get; init; }

    /// <summary>Seconds until the kernel gives a connection up that has not answered a request.</summary>
    internal int Timeout { get; init; }

    /// <summary>Seconds that requests wait for a new connection when there is none.</summary>
    internal int DeadTimeout { get; init; }

    internal ulong Flags { get; init; }

    /// <summary>Says whose device it is; whoever reconfigures it must know it.</summary>
    internal required string Identifier { get; init; }
}

/// <summary>The netlink interface of the kernel's NBD driver (<c>linux/nbd-netlink.h</c>).</summary>
internal sealed class NbdNetlink : IDisposable
{
    private readonly GenericNetlink _netlink;
    private readonly NetlinkFamily _family;

    private NbdNetlink(GenericNetlink netlink, NetlinkFamily family)
    {
        _netlink = netlink;
        _family = family;
    }

    /// <summary>To poll for events, after <see cref="Subscribe"/>.</summary>
    internal int Socket => _netlink.Socket;

    /// <summary>The kernel's words about the last refusal, if it had any.</summary>
    internal string? LastText => _netlink.LastText;

    /// <returns>0 or a negative errno: -ENOENT if the driver is not there</returns>
    internal static int Open(out NbdNetlink? nbd)
    {
        nbd = null;
        var error = GenericNetlink.Open(out var netlink);
        if (error < 0)
            return error;
        error = netlink!.Resolve(NbdDevice.NBD_GENL_FAMILY_NAME, NbdDevice.NBD_GENL_MCAST_GROUP_NAME, out var family);
        if (error < 0)
            netlink.Dispose();
        else
            nbd = new NbdNetlink(netlink, family);
        return error;
    }

    public void Dispose() => _netlink.Dispose();

    /// <summary>Makes a device of connected sockets, which stay ours as well.</summary>
    /// <returns>0 or a negative errno: -EBUSY if the index is in use</returns>
    internal int Connect(NbdDeviceConfig config, ReadOnlySpan<int> sockets, out int index)
    {
        var found = config.Index ?? -1;
        var error = _netlink.Call(ConnectMessage(NewRequest(NbdDevice.NBD_CMD_CONNECT), config, sockets), answer =>
        {
            if (answer.Attributes.TryFindUInt32(NbdDevice.NBD_ATTR_INDEX, out var value))
                found = (int)value;
        });
        index = found;
        return error;
    }

    /// <summary>Takes a device away from its users: what is in progress fails.</summary>
    internal int Disconnect(int index) =>
        _netlink.Call(NewRequest(NbdDevice.NBD_CMD_DISCONNECT).Add(NbdDevice.NBD_ATTR_INDEX, (uint)index));

    /// <summary>Gives a device new sockets in the place of those that are dead; too many are silently dropped.</summary>
    /// <param name="config">its index, its identifier and its timeouts; nothing else can be changed here</param>
    /// <param name="sockets">connected sockets; may be none</param>
    /// <returns>0 or a negative errno: -EINVAL if it is no device, or another's</returns>
    internal int Reconfigure(NbdDeviceConfig config, ReadOnlySpan<int> sockets) =>
        _netlink.Call(ReconfigureMessage(NewRequest(NbdDevice.NBD_CMD_RECONFIGURE), config, sockets));

    /// <summary>Tells the size anew. Newer kernels wait until no request is in progress: not while requests are held.</summary>
    internal int Resize(int index, string identifier, long size) =>
        _netlink.Call(ResizeMessage(NewRequest(NbdDevice.NBD_CMD_RECONFIGURE), index, identifier, size));

    /// <summary>Whether a device is configured, also if its server is gone.</summary>
    /// <returns>1 or 0, or a negative errno</returns>
    internal int Status(int index)
    {
        var connected = 0;
        var request = NewRequest(NbdDevice.NBD_CMD_STATUS).Add(NbdDevice.NBD_ATTR_INDEX, (uint)index);
        var error = _netlink.Call(request, answer =>
        {
            foreach (var (number, isConnected) in ReadStatus(answer))
                connected = number == index && isConnected ? 1 : connected;
        });
        return error < 0 ? error : connected;
    }

    /// <summary>Asks for news of dead connections.</summary>
    internal int Subscribe() => _family.Group == 0 ? -Errno.EOPNOTSUPP : Netlink.Join(_netlink.Socket, _family.Group);

    /// <summary>Reads the news that have come.</summary>
    /// <returns>whether a connection of this device died, or news were lost</returns>
    internal bool ReadLinkDead(int index)
    {
        var dead = false;
        var lost = _netlink.ReadEvents(message => dead |= IsLinkDead(message, _family.Id, index));
        return dead || lost;
    }

    internal static bool IsLinkDead(NetlinkMessage message, ushort family, int index) =>
        message.Header.nlmsg_type == family && message.Command == NbdDevice.NBD_CMD_LINK_DEAD
        && message.Attributes.TryFindUInt32(NbdDevice.NBD_ATTR_INDEX, out var value) && value == index;

    internal static List<(int Index, bool Connected)> ReadStatus(NetlinkMessage message)
    {
        var devices = new List<(int, bool)>();
        if (message.Command != NbdDevice.NBD_CMD_STATUS || !message.Attributes.TryFind(NbdDevice.NBD_ATTR_DEVICE_LIST, out var bytes))
            return devices;
        var list = new NetlinkAttributes(bytes);
        while (list.TryTake(out var type, out var item))
        {
            var device = new NetlinkAttributes(item);
            if (type == NbdDevice.NBD_DEVICE_ITEM && device.TryFindUInt32(NbdDevice.NBD_DEVICE_INDEX, out var index)
                && device.TryFind(NbdDevice.NBD_DEVICE_CONNECTED, out var connected) && connected.Length > 0)
            {
                devices.Add(((int)index, connected[0] != 0));
            }
        }

        return devices;
    }

    internal static NetlinkWriter ConnectMessage(NetlinkWriter writer, NbdDeviceConfig config, ReadOnlySpan<int> sockets)
    {
        if (config.Index is { } index)
            writer.Add(NbdDevice.NBD_ATTR_INDEX, (uint)index);
        writer.Add(NbdDevice.NBD_ATTR_SIZE_BYTES, (ulong)config.Size)
            .Add(NbdDevice.NBD_ATTR_BLOCK_SIZE_BYTES, (ulong)config.BlockSize)
            .Add(NbdDevice.NBD_ATTR_SERVER_FLAGS, config.Flags)
            .Add(NbdDevice.NBD_ATTR_TIMEOUT, (ulong)config.Timeout);
        AddSockets(writer, sockets);
        return writer.Add(NbdDevice.NBD_ATTR_DEAD_CONN_TIMEOUT, (ulong)config.DeadTimeout)
            .Add(NbdDevice.NBD_ATTR_BACKEND_IDENTIFIER, config.Identifier);
    }

    internal static NetlinkWriter ReconfigureMessage(NetlinkWriter writer, NbdDeviceConfig config, ReadOnlySpan<int> sockets)
    {
        writer.Add(NbdDevice.NBD_ATTR_INDEX, (uint)config.Index!.Value)
            .Add(NbdDevice.NBD_ATTR_TIMEOUT, (ulong)config.Timeout)
            .Add(NbdDevice.NBD_ATTR_DEAD_CONN_TIMEOUT, (ulong)config.DeadTimeout)
            .Add(NbdDevice.NBD_ATTR_BACKEND_IDENTIFIER, config.Identifier);
        if (sockets.Length > 0)
            AddSockets(writer, sockets);
        return writer;
    }

    internal static NetlinkWriter ResizeMessage(NetlinkWriter writer, int index, string identifier, long size) =>
        writer.Add(NbdDevice.NBD_ATTR_INDEX, (uint)index)
            .Add(NbdDevice.NBD_ATTR_SIZE_BYTES, (ulong)size)
            .Add(NbdDevice.NBD_ATTR_BACKEND_IDENTIFIER, identifier);

    private static void AddSockets(NetlinkWriter writer, ReadOnlySpan<int> sockets)
    {
        var list = sockets.ToArray();
        writer.AddNested(NbdDevice.NBD_ATTR_SOCKETS, all =>
        {
            foreach (var socket in list)
                all.AddNested(NbdDevice.NBD_SOCK_ITEM, item => item.Add(NbdDevice.NBD_SOCK_FD, (uint)socket));
        });
    }

    private NetlinkWriter NewRequest(byte command) => _netlink.NewRequest(_family.Id, command, NbdDevice.NBD_GENL_VERSION);
}
