using System.Linq;
using Qcow2Blk.Cli.Mount;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Image;
using Xunit;

namespace Qcow2Blk.Tests.Cli.Mount;

/// <summary>Whom each option of <c>mount -t qcow2 -o …</c> reaches.</summary>
public sealed class MountOptionTests
{
    private static MountOptions Parse(string list, string? subtype = null) => MountOptions.Parse(list, "/data/disk.qcow2", subtype);

    private static OutcomeException Refused(string list) => Assert.Throws<OutcomeException>(() => Parse(list));

    [Theory]
    [InlineData("", "rw")]
    [InlineData("rw,noatime,nosuid,subvol=@home", "rw,noatime,nosuid,subvol=@home")]
    [InlineData("noatime,ro", "ro,noatime")]
    [InlineData("ro,rw", "rw")]
    [InlineData("discard,discard=async,device=/dev/sdb", "rw,discard,discard=async,device=/dev/sdb")]
    [InlineData("context=\"system_u:object_r:t:s0:c1,c2\",noatime", "rw,context=\"system_u:object_r:t:s0:c1,c2\",noatime")]
    [InlineData("_netdev,x-systemd.automount,comment=x", "rw,_netdev,x-systemd.automount,comment=x")]
    [InlineData("user,users,owner,group,noauto,auto,nofail,defaults,noexec", "rw,noexec")]
    [InlineData("partition=2,fstype=ext4,name=d,cache=writeback,snapshot=s", "ro")]
    public void File_system_gets_what_is_neither_ours_nor_for_fstab(string list, string inner) => Assert.Equal(inner, Parse(list).Inner);

    [Fact]
    public void Options_of_attach_are_known_by_their_names()
    {
        var options = Parse("cache=writeback,name=data,transport=nbd,queues=2,no-backing,qcow2.discard=ignore,qcow2.device=/dev/nbd3");
        var attach = options.Attach.ToOptions();
        Assert.Equal((CacheMode.Writeback, "data", DeviceTransport.Nbd, 2), (attach.Cache, attach.Name, attach.Transport, attach.Queues));
        Assert.Equal((true, DiscardMode.Ignore, "/dev/nbd3"), (attach.NoBacking, attach.Discard, attach.Device));
        Assert.Equal("rw", options.Inner);
        Assert.Equal(7, options.Given.Count);
    }

    /// <summary>What is declared for attach can be said to mount, but for what makes no lasting block device.</summary>
    [Fact]
    public void Every_option_of_attach_that_fits_a_mount_is_taken_with_the_prefix()
    {
        var known = AttachOptionTable.All.Where(option => option is { IsPublic: true, IsHidden: false }).ToList();
        foreach (var option in known)
        {
            var refusal = Record.Exception(() => Parse($"qcow2.{option.Name}"));
            var impossible = option.Name is "socket" or "listen" or "foreground" or "run";
            Assert.Equal(impossible, refusal?.Message.Contains("cannot be an option of a mount") ?? false);
            Assert.True(impossible || refusal is null == option.IsFlag, $"{option.Name}: {refusal?.Message}");
        }
    }

    [Theory]
    [InlineData("ro")]
    [InlineData("read-only")]
    [InlineData("snapshot=before")]
    [InlineData("rw,snapshot=before")]
    public void Read_only_mount_attaches_read_only_and_the_other_way_round(string list)
    {
        var options = Parse(list);
        Assert.Equal((true, true), (options.ReadOnly, options.Attach.ToOptions().EffectiveReadOnly));
    }

    [Fact]
    public void What_is_attached_for_a_mount_ends_with_its_last_user() => Assert.True(Parse("").Attach.ToOptions().DetachWhenUnused);

    [Fact]
    public void Partition_type_remount_and_nofail_are_for_the_helper()
    {
        var options = Parse("remount,partition=14,fstype=vfat,nofail");
        Assert.Equal((14, "vfat", true, true), (options.Partition, options.FileSystem, options.Remount, options.NoFail));
        Assert.Equal("xfs", Parse("", "xfs").FileSystem);
        Assert.Equal("ext4", Parse("fstype=ext4", "xfs").FileSystem);
    }

    [Theory]
    [InlineData("partition=0")]
    [InlineData("partition=x")]
    [InlineData("partition")]
    [InlineData("fstype=")]
    [InlineData("fstype=qcow2")]
    [InlineData("cache")]
    [InlineData("cache=fast")]
    [InlineData("queues=0")]
    [InlineData("qcow2.nonsuch=1")]
    [InlineData("listen=:10809")]
    public void Values_that_make_no_sense_are_refused_before_anything_is_attached(string list) =>
        Assert.Equal(OutcomeKind.Invalid, Refused(list).Kind);

    [Fact]
    public void Quoted_value_may_hold_commas()
    {
        var options = Parse("backing=\"/data/a,b.qcow2\",noatime");
        Assert.Equal("/data/a,b.qcow2", options.Attach.Options.Backing);
        Assert.Equal("rw,noatime", options.Inner);
    }
}
