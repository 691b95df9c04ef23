using System;
using System.Collections.Generic;
using Qcow2Blk.Exports.NbdKernel;
using Qcow2Blk.Interop;
using Xunit;

namespace Qcow2Blk.Tests.Exports.NbdKernel;

/// <summary>Netlink messages, against bytes that others made: nbd-client 3.24 with libnl, a C program of the kernel's headers, a
/// kernel.</summary>
public sealed class NetlinkMessageTests
{
    // nbd-client -unix SOCKET /dev/nbd3 -timeout 30 -block-size 4096 -connections 2
    private const string ConnectByNbdClient =
        "680000001c0005006a0f036bf87fc0ee0100000008000100030000000c00020000001000000000000c00030000100000000000000c0005006d05000"
        + "0000000000c0004001e000000000000001c0007800c00018008000100030000000c0001800800010004000000";

    // nbd-client -d /dev/nbd3
    private const string DisconnectByNbdClient = "1c0000001c000500510f036b787f80e0020000000800010003000000";

    // A C program that uses linux/nbd-netlink.h
    private const string ReconfigureByC =
        "580000001c00050007000000000000000301000008000100030000000c0004001e000000000000000c000800580200000000000012000a0071636f7"
        + "732626c6b3a613a2f62000000100007800c0001800800010009000000";

    // Linux 6.18, asked for family "nlctrl"
    private const string FamilyByKernel =
        "88000000100000000100000050010000010200000b0002006e6c6374726c00000600010010000000080003000200000008000400000000000800050"
        + "0000000002c000600140001000800010003000000"
        + "080002000e00000014000200080001000a000000080002000c0000001c0007001800010008000200100000000b0001006e6f746966790000";

    // Linux 6.18, asked for a family that there is not
    private const string RefusalByKernel =
        "3400000002000000010000007b010000feffffff20000000100005000100000000000000030100000b0002006e6f737563680000";

    private static readonly NbdDeviceConfig s_config = new()
    {
        Index = 3,
        Size = 1 << 20,
        BlockSize = 4096,
        Timeout = 30,
        DeadTimeout = 600,
        Flags = 0x56d,
        Identifier = "qcow2blk:a:/b",
    };

    [Fact]
    public void Connect_begins_as_that_of_nbd_client()
    {
        var theirs = Convert.FromHexString(ConnectByNbdClient);
        var ours = NbdNetlink.ConnectMessage(new NetlinkWriter(28, NbdDevice.NBD_CMD_CONNECT, 1, 0x6b030f6a), s_config, [3, 4]).Finish();
        Assert.Equal(theirs[4..12], ours[4..12].ToArray());
        Assert.Equal(theirs[16], ours[16]);
        Assert.Equal(theirs[18..], ours[18..theirs.Length].ToArray()); // It leaves the version, at 17, 0: no kernel looks at it.
        Assert.Equal(ours.Length, BitConverter.ToInt32(ours));
    }

    [Fact]
    public void Reconfigure_has_the_attributes_of_the_c_program()
    {
        var ours = NbdNetlink.ReconfigureMessage(new NetlinkWriter(28, NbdDevice.NBD_CMD_RECONFIGURE, 1, 7), s_config, [9]).Finish();
        Assert.Equal(ReconfigureByC, Convert.ToHexString(ours).ToLowerInvariant());
    }

    [Fact]
    public void Disconnect_is_that_of_nbd_client()
    {
        var theirs = Convert.FromHexString(DisconnectByNbdClient);
        var ours = new NetlinkWriter(28, NbdDevice.NBD_CMD_DISCONNECT, 1, 0x6b030f51).Add(NbdDevice.NBD_ATTR_INDEX, 3u).Finish();
        Assert.Equal(theirs[..12], ours[..12].ToArray());
        Assert.Equal(theirs[16], ours[16]);
        Assert.Equal(theirs[18..], ours[18..].ToArray());
    }

    [Fact]
    public void Family_is_read_from_the_kernels_answer() =>
        Assert.Equal(new NetlinkFamily(16, 16), GenericNetlink.ReadFamily(Only(Convert.FromHexString(FamilyByKernel)), "notify"));

    [Fact]
    public void Family_without_the_group_has_none() =>
        Assert.Equal(new NetlinkFamily(16, 0), GenericNetlink.ReadFamily(Only(Convert.FromHexString(FamilyByKernel)), "other"));

    [Fact]
    public void Refusal_is_read_from_the_kernels_answer()
    {
        Assert.Equal(-Errno.ENOENT, Only(Convert.FromHexString(RefusalByKernel)).ReadError(out var text));
        Assert.Null(text);
    }

    [Fact]
    public void Cut_messages_are_never_read_past_their_end()
    {
        foreach (var whole in (string[])[ConnectByNbdClient, FamilyByKernel, RefusalByKernel])
        {
            var bytes = Convert.FromHexString(whole);
            for (var length = 0; length < bytes.Length; length++)
            {
                // The header claims all of it, or as much as there is: neither may throw.
                ReadAll(bytes.AsSpan(0, length));
                var claimed = bytes.AsSpan(0, length).ToArray();
                if (length >= 4)
                    BitConverter.TryWriteBytes(claimed, length);
                ReadAll(claimed);
            }
        }
    }

    [Fact]
    public void Random_bytes_are_never_read_past_their_end()
    {
        var random = new Random(4711);
        for (var i = 0; i < 20_000; i++)
        {
            var bytes = Convert.FromHexString(i % 2 == 0 ? FamilyByKernel : RefusalByKernel);
            for (var changes = random.Next(1, 6); changes > 0; changes--)
                bytes[random.Next(4, bytes.Length)] = (byte)random.Next(256);
            ReadAll(bytes);
        }
    }

    [Fact]
    public void Text_of_an_extended_refusal_is_read()
    {
        // Error -22, our header alone (capped), then NLMSGERR_ATTR_MSG "no".
        byte[] bytes =
        [
            44, 0, 0, 0, 2, 0, 0, 3, 1, 0, 0, 0, 9, 0, 0, 0,
            0xea, 0xff, 0xff, 0xff,
            28, 0, 0, 0, 28, 0, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0,
            7, 0, 1, 0, (byte)'n', (byte)'o', 0, 0,
        ];
        Assert.Equal(-Errno.EINVAL, Only(bytes).ReadError(out var text));
        Assert.Equal("no", text);
    }

    [Fact]
    public void Status_lists_devices()
    {
        var message = new NetlinkWriter(28, NbdDevice.NBD_CMD_STATUS, 1, 1).AddNested(NbdDevice.NBD_ATTR_DEVICE_LIST, list =>
        {
            for (uint i = 0; i < 2; i++)
            {
                var index = i;
                list.AddNested(NbdDevice.NBD_DEVICE_ITEM, item => item
                    .Add(NbdDevice.NBD_DEVICE_INDEX, index)
                    .Add(NbdDevice.NBD_DEVICE_CONNECTED, index));
            }
        }).Finish();
        Assert.Equal(new List<(int, bool)> { (0, false), (1, true) }, NbdNetlink.ReadStatus(Only(message)));
    }

    [Fact]
    public void Link_dead_counts_for_its_device_only()
    {
        var message = new NetlinkWriter(28, NbdDevice.NBD_CMD_LINK_DEAD, 1, 0).Add(NbdDevice.NBD_ATTR_INDEX, 3u).Finish();
        Assert.True(NbdNetlink.IsLinkDead(Only(message), 28, 3));
        Assert.False(NbdNetlink.IsLinkDead(Only(message), 28, 4));
        Assert.False(NbdNetlink.IsLinkDead(Only(message), 29, 3));
    }

    [Fact]
    public void Kernel_answers_a_request_of_ours()
    {
        Assert.Equal(0, GenericNetlink.Open(out var netlink));
        using (netlink)
        {
            Assert.Equal(0, netlink!.Resolve("nlctrl", "notify", out var family));
            Assert.Equal(Netlink.GENL_ID_CTRL, family.Id);
            Assert.NotEqual(0u, family.Group);
            Assert.Equal(-Errno.ENOENT, netlink.Resolve("qcow2blk-none", "", out _));
        }
    }

    private static NetlinkMessage Only(ReadOnlySpan<byte> bytes)
    {
        Assert.True(NetlinkMessage.TryTake(ref bytes, out var message));
        return message;
    }

    private static void ReadAll(ReadOnlySpan<byte> datagram)
    {
        while (NetlinkMessage.TryTake(ref datagram, out var message))
        {
            message.ReadError(out _);
            GenericNetlink.ReadFamily(message, "notify");
            NbdNetlink.ReadStatus(message);
            NbdNetlink.IsLinkDead(message, 28, 3);
        }
    }
}
