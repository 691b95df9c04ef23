using System;
using System.IO;
using Qcow2Blk.Exports;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Exports;

/// <summary>Who uses a block device, from files as the kernel writes them.</summary>
public sealed class BlockDeviceUsersTests : IDisposable
{
    private readonly TempDirectory _root = new();

    public BlockDeviceUsersTests()
    {
        Write("sys/block/nbd0/dev", "43:0\n");
        Write("sys/block/nbd0/nbd0p1/dev", "43:1\n");
        Write("sys/block/nbd0/nbd0p1/partition", "1\n");
        Write("sys/block/nbd0/queue/dev", "99:9\n");
        Directory.CreateDirectory(At("sys/block/nbd0/holders"));
        Directory.CreateDirectory(At("sys/block/nbd0/nbd0p1/holders"));
        Write("proc/self/mountinfo", "22 1 259:1 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p1 rw\n");
        Write("proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/nvme0n1p2 partition\t1048572\t\t0\t\t-2\n");
    }

    public void Dispose() => _root.Dispose();

    [Fact]
    public void Unused_disk_has_no_user() => Assert.Null(Find());

    [Fact]
    public void Disk_that_does_not_exist_has_no_user() =>
        Assert.Null(new BlockDeviceUsers(At("sys"), At("proc"), At("dev")).Find("nbd1"));

    [Fact]
    public void Mount_of_the_disk_is_found_by_its_number()
    {
        Append("proc/self/mountinfo", "90 22 43:0 / /mnt/with\\040space rw - ext4 /dev/root rw\n");
        Assert.Equal("mounted on /mnt/with space", Find());
    }

    [Fact]
    public void Mount_of_a_partition_is_found()
    {
        Append("proc/self/mountinfo", "90 22 43:1 / /srv rw shared:5 master:2 - xfs /dev/nbd0p1 rw,attr2\n");
        Assert.Equal("mounted on /srv", Find());
    }

    [Fact]
    public void Mount_of_a_file_system_with_numbers_of_its_own_is_found_by_name()
    {
        Append("proc/self/mountinfo", "90 22 0:45 / /pool rw - btrfs " + At("dev/nbd0") + " rw,space_cache\n");
        Assert.Equal("mounted on /pool", Find());
    }

    [Fact]
    public void Mount_that_only_the_first_process_sees_is_found()
    {
        Write("proc/1/mountinfo", "90 22 43:0 / /host rw - ext4 /dev/nbd0 rw\n");
        Assert.Equal("mounted on /host", Find());
    }

    [Fact]
    public void Mount_of_a_disk_whose_name_only_begins_alike_is_none()
    {
        Append("proc/self/mountinfo", "90 22 43:160 / /ten rw - btrfs " + At("dev/nbd01") + " rw\n");
        Append("proc/swaps", At("dev/nbd01") + " partition\t1\t0\t-2\n");
        Assert.Null(Find());
    }

    [Fact]
    public void Swap_is_found()
    {
        Append("proc/swaps", At("dev/nbd0p1") + "                             partition\t1048572\t\t0\t\t-3\n");
        Assert.Equal("used as swap", Find());
    }

    [Fact]
    public void Device_mapper_over_a_partition_is_found_with_its_name()
    {
        Write("sys/block/dm-0/dm/name", "vg-root\n");
        Directory.CreateSymbolicLink(At("sys/block/nbd0/nbd0p1/holders/dm-0"), At("sys/block/dm-0"));
        Assert.Equal("used by dm-0 (vg-root)", Find());
    }

    [Fact]
    public void Array_over_the_disk_is_found()
    {
        Directory.CreateDirectory(At("sys/block/nbd0/holders/md127"));
        Assert.Equal("used by md127", Find());
    }

    [Fact]
    public void Loop_device_over_the_disk_is_found()
    {
        Write("sys/block/loop3/loop/backing_file", At("dev/nbd0") + "\n");
        Assert.Equal("used by loop3", Find());
    }

    [Fact]
    public void Open_file_that_stays_is_found_with_its_process()
    {
        Write("proc/4711/comm", "dd\n");
        Directory.CreateDirectory(At("proc/4711/fd"));
        File.CreateSymbolicLink(At("proc/4711/fd/3"), At("dev/nbd0"));
        Assert.Equal("open in dd (pid 4711)", Find());
    }

    [Fact]
    public void A_look_of_udev_is_no_user()
    {
        Write("proc/4711/comm", "(udev-worker)\n");
        Directory.CreateDirectory(At("proc/4711/fd"));
        File.CreateSymbolicLink(At("proc/4711/fd/3"), At("dev/nbd0"));
        Assert.Null(Find());
    }

    [Fact]
    public void Open_file_of_ours_is_no_user()
    {
        Directory.CreateDirectory(At($"proc/{Environment.ProcessId}/fd"));
        File.CreateSymbolicLink(At($"proc/{Environment.ProcessId}/fd/3"), At("dev/nbd0"));
        Assert.Null(Find());
    }

    private string? Find() => new BlockDeviceUsers(At("sys"), At("proc"), At("dev")).Find("nbd0");

    private string At(string path) => _root.File(path);

    private void Write(string path, string text)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(At(path))!);
        File.WriteAllText(At(path), text);
    }

    private void Append(string path, string text) => File.AppendAllText(At(path), text);
}
