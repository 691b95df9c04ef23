using System;
using System.IO;
using Qcow2Blk.Exports.Ublk;
using Qcow2Blk.Interop;
using Qcow2Blk.Tests.Support;
using Xunit;
using static Qcow2Blk.Interop.Ublk;

namespace Qcow2Blk.Tests.Exports.Ublk;

public sealed class UblkDevicesTests
{
    [Fact]
    public void Devices_are_found_by_the_names_of_their_nodes()
    {
        using var folder = new TempDirectory();
        foreach (var name in (string[])["ublkc0", "ublkc12", "ublkb3", "ublkc", "ublkc-1", "ublkcx", "ublkc2"])
            File.WriteAllText(Path.Combine(folder.Path, name), "");
        Assert.Equal([0, 2, 12], UblkDevices.Numbers(folder.Path, Path.Combine(folder.Path, "missing"), folder.Path));
    }

    [Fact]
    public void Device_of_a_dead_server_can_be_recovered()
    {
        var info = new ublksrv_ctrl_dev_info
        {
            state = UBLK_S_DEV_QUIESCED,
            flags = UBLK_F_USER_RECOVERY,
            ublksrv_flags = UblkDevice.Mark,
            ublksrv_pid = 7
        };
        var device = new UblkDevice(0, 0, info);
        Assert.True(device is { IsOurs: true, IsRecoverable: true, State: "quiesced", Server: 7 });

        info.state = UBLK_S_DEV_LIVE;
        info.ublksrv_flags = 0;
        Assert.True(new UblkDevice(0, 0, info) is { IsOurs: false, IsRecoverable: false, State: "live" });
        info.state = UBLK_S_DEV_DEAD;
        info.ublksrv_pid = -1;
        Assert.True(new UblkDevice(0, 0, info) is { IsRecoverable: false, State: "dead", Server: 0 });
        Assert.True(new UblkDevice(0, -Errno.EPERM, default) is { IsOurs: false, IsRecoverable: false, State: "unknown", Server: 0 });
    }

    [Fact]
    public void Node_is_waited_for_as_long_as_it_may_come()
    {
        var attempts = 0;
        Assert.Equal(5,
            UblkNodes.Retry(() => ++attempts < 4 ? (attempts == 1 ? -Errno.ENOENT : -Errno.EACCES) : 5, TimeSpan.FromSeconds(20), false));
        Assert.Equal(4, attempts);
        Assert.Equal(-Errno.ENOENT, UblkNodes.Retry(() => -Errno.ENOENT, TimeSpan.FromMilliseconds(20), false));
    }

    [Fact]
    public void Node_that_is_refused_for_good_is_not_waited_for()
    {
        var attempts = 0;
        Assert.Equal(-Errno.EPERM, UblkNodes.Retry(() => { attempts++; return -Errno.EPERM; }, TimeSpan.FromSeconds(20), true));
        Assert.Equal(-Errno.EBUSY, UblkNodes.Retry(() => { attempts++; return -Errno.EBUSY; }, TimeSpan.FromSeconds(20), false));
        Assert.Equal(2, attempts);
    }

    [Fact]
    public void File_in_the_place_of_a_block_device_is_none()
    {
        using var folder = new TempDirectory();
        var path = Path.Combine(folder.Path, "ublkb0");
        File.WriteAllText(path, "");
        Assert.Equal(-Errno.ENOENT, UblkNodes.WaitForBlock(path, TimeSpan.FromMilliseconds(10)));
    }
}
