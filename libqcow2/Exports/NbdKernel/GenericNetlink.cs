using System;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Exports.NbdKernel;

/// <summary>What the kernel knows of a generic netlink family.</summary>
/// <param name="Id">its number</param>
/// <param name="Group">the number of the multicast group that was asked for; 0 if it has none of that name</param>
internal readonly record struct NetlinkFamily(ushort Id, uint Group);

/// <summary>A generic netlink socket: one request at a time, each with its answer.</summary>
/// <remarks>
/// The kernel runs a request inside the call that sends it. One that may wait for a device belongs into a
/// <see cref="TimedCall"/>, with a socket of its own.
/// </remarks>
internal sealed class GenericNetlink : IDisposable
{
    // The kernel's datagrams are at most a page, or what the receiver was last seen to take, up to 32 KiB.
    private const int LargestDatagram = 32 * 1024;

    private readonly byte[] _buffer = new byte[LargestDatagram];
    private uint _sequence;

    private GenericNetlink(int socket) => Socket = socket;

    /// <summary>To poll for events.</summary>
    internal int Socket { get; }

    /// <summary>The kernel's words about the last refusal, if it had any.</summary>
    internal string? LastText { get; private set; }

    /// <returns>0 or a negative errno</returns>
    internal static int Open(out GenericNetlink? netlink)
    {
        var socket = Netlink.OpenGeneric();
        netlink = socket < 0 ? null : new GenericNetlink(socket);
        return Math.Min(socket, 0);
    }

    public void Dispose() => Files.Close(Socket);

    /// <summary>Asks the kernel for a family.</summary>
    /// <returns>0, or a negative errno: -ENOENT if it has no such family</returns>
    internal int Resolve(string name, string group, out NetlinkFamily family)
    {
        var found = default(NetlinkFamily);
        var request = NewRequest(Netlink.GENL_ID_CTRL, Netlink.CTRL_CMD_GETFAMILY, 1)
            .Add(Netlink.CTRL_ATTR_FAMILY_NAME, name);
        var error = Call(request, message => found = ReadFamily(message, group));
        family = found;
        return error == 0 && found.Id == 0 ? -Errno.ENOENT : error;
    }

    internal NetlinkWriter NewRequest(ushort family, byte command, byte version) => new(family, command, version, ++_sequence);

    /// <summary>Receives an answer that is no acknowledgement.</summary>
    internal delegate void Answer(NetlinkMessage message);

    /// <summary>Sends a request and receives until it is acknowledged.</summary>
    /// <returns>0 or a negative errno</returns>
    internal int Call(NetlinkWriter request, Answer? answer = null)
    {
        LastText = null;
        var sent = Netlink.Send(Socket, request.Finish());
        if (sent < 0)
            return (int)sent;
        while (true)
        {
            var received = Netlink.Receive(Socket, _buffer, wait: true);
            if (received < 0)
                return received;
            ReadOnlySpan<byte> datagram = _buffer.AsSpan(0, received);
            while (NetlinkMessage.TryTake(ref datagram, out var message))
            {
                if (message.Header.nlmsg_seq != _sequence)
                    continue; // An event, or late news of an earlier request.
                if (message.Header.nlmsg_type == Netlink.NLMSG_ERROR)
                {
                    var error = message.ReadError(out var text);
                    LastText = text;
                    return error;
                }

                answer?.Invoke(message);
            }
        }
    }

    /// <summary>Hands over every event that has come, without waiting.</summary>
    /// <returns>whether any may have been lost</returns>
    internal bool ReadEvents(Answer answer)
    {
        while (true)
        {
            var received = Netlink.Receive(Socket, _buffer, wait: false);
            if (received < 0)
                return received != -Errno.EAGAIN;
            ReadOnlySpan<byte> datagram = _buffer.AsSpan(0, received);
            while (NetlinkMessage.TryTake(ref datagram, out var message))
                answer(message);
        }
    }

    internal static NetlinkFamily ReadFamily(NetlinkMessage message, string group)
    {
        var attributes = message.Attributes;
        if (message.Command != Netlink.CTRL_CMD_NEWFAMILY || !attributes.TryFind(Netlink.CTRL_ATTR_FAMILY_ID, out var id) || id.Length < 2)
            return default;
        var family = new NetlinkFamily(System.Runtime.InteropServices.MemoryMarshal.Read<ushort>(id), 0);
        if (!attributes.TryFind(Netlink.CTRL_ATTR_MCAST_GROUPS, out var groups))
            return family;
        var list = new NetlinkAttributes(groups);
        while (list.TryTake(out _, out var entry))
        {
            var one = new NetlinkAttributes(entry);
            if (one.TryFind(Netlink.CTRL_ATTR_MCAST_GRP_NAME, out var name) && NetlinkAttributes.Text(name) == group
                && one.TryFindUInt32(Netlink.CTRL_ATTR_MCAST_GRP_ID, out var number))
            {
                return family with { Group = number };
            }
        }

        return family;
    }
}
