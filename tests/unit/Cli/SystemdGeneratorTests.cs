using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Cli;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Cli;

/// <summary>What units are told of the devices in /etc/qcow2blk.</summary>
public sealed class SystemdGeneratorTests : IDisposable
{
    private readonly TempDirectory _folder = new();

    public SystemdGeneratorTests()
    {
        Directory.CreateDirectory(_folder.File("conf/nbd"));
        Directory.CreateDirectory(_folder.File("units"));
    }

    public void Dispose() => _folder.Dispose();

    private Dictionary<string, string> Generate(string fstab = "")
    {
        File.WriteAllText(_folder.File("fstab"), fstab);
        SystemdGenerator.Write(_folder.File("units"), _folder.File("conf"), _folder.File("fstab"));
        return Directory.GetFiles(_folder.File("units"), "*", SearchOption.AllDirectories)
            .ToDictionary(file => Path.GetRelativePath(_folder.File("units"), file), File.ReadAllText);
    }

    [Fact]
    public void Device_starts_after_the_mount_of_its_image_and_before_what_uses_it()
    {
        File.WriteAllText(_folder.File("conf/my-disk.conf"), "# comment\nIMAGE=/data/a disk.qcow2\nOPTIONS=--queues 2\n");
        var units = Generate();
        var service = units["qcow2blk@my-disk.service.d/50-qcow2blk.conf"];
        Assert.Contains("RequiresMountsFor=\"/data/a disk.qcow2\"\n", service, StringComparison.Ordinal);
        Assert.Contains("Before=blockdev@dev-qcow2blk-my\\x2ddisk.target\n", service, StringComparison.Ordinal);
        Assert.Contains("Wants=qcow2blk@my-disk.service\n", units[@"dev-qcow2blk-my\x2ddisk.device.d/50-qcow2blk.conf"],
            StringComparison.Ordinal);
        Assert.Equal(2, units.Count);
    }

    [Fact]
    public void Partitions_that_fstab_mounts_belong_to_the_device()
    {
        File.WriteAllText(_folder.File("conf/a.conf"), "IMAGE=/a");
        File.WriteAllText(_folder.File("conf/a-part.conf"), "IMAGE=/b");
        var units = Generate("# /dev/qcow2blk/a-part9 /x ext4\n  /dev/qcow2blk/a-part1\t/srv ext4\n/dev/qcow2blk/a-part1 /again ext4\n"
            + "/dev/qcow2blk/a-partx /y ext4\n/dev/sda1 / ext4\n");
        Assert.Contains("Before=blockdev@dev-qcow2blk-a.target blockdev@dev-qcow2blk-a\\x2dpart1.target\n",
            units["qcow2blk@a.service.d/50-qcow2blk.conf"], StringComparison.Ordinal);
        Assert.Contains("qcow2blk@a.service", units[@"dev-qcow2blk-a\x2dpart1.device.d/50-qcow2blk.conf"], StringComparison.Ordinal);
        Assert.Equal(5, units.Count);
    }

    [Theory]
    [InlineData("""IMAGE="/data/100% \"sure\".qcow2" """, """RequiresMountsFor="/data/100%% \"sure\".qcow2" """)]
    [InlineData("""IMAGE='/data/a\b.qcow2'""", """RequiresMountsFor="/data/a\\b.qcow2" """)]
    public void Path_is_quoted_for_the_unit(string line, string expected)
    {
        File.WriteAllText(_folder.File("conf/a.conf"), line);
        Assert.Contains(expected.Trim() + "\n", Generate()["qcow2blk@a.service.d/50-qcow2blk.conf"], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("IMAGE=relative.qcow2")]
    [InlineData("OPTIONS=--queues 2")]
    [InlineData("IMAGE='/a\nWants=evil.service'")]
    public void Path_that_is_none_adds_no_line(string line)
    {
        File.WriteAllText(_folder.File("conf/a.conf"), line);
        var service = Generate()["qcow2blk@a.service.d/50-qcow2blk.conf"];
        Assert.DoesNotContain("RequiresMountsFor", service, StringComparison.Ordinal);
        Assert.DoesNotContain("evil", service, StringComparison.Ordinal);
    }

    [Fact]
    public void Nbd_servers_only_wait_for_their_image()
    {
        File.WriteAllText(_folder.File("conf/nbd/disk.conf"), "IMAGE=/data/disk.qcow2");
        var (name, text) = Assert.Single(Generate());
        Assert.Equal("qcow2blk-nbd@disk.service.d/50-qcow2blk.conf", name);
        Assert.Contains("RequiresMountsFor=\"/data/disk.qcow2\"\n", text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--base https://images.example/a.qcow2")]
    [InlineData("--queues 2 --base=s3://bucket/a.qcow2 --sha256 0")]
    [InlineData("--base 'nbd://store/a'")]
    [InlineData("--allow-remote-backing")]
    public void A_device_with_a_base_in_a_store_gets_the_network_and_a_cache_and_waits_for_them(string options)
    {
        File.WriteAllText(_folder.File("conf/a.conf"), $"IMAGE=/data/a.qcow2\nOPTIONS={options}\n");
        File.WriteAllText(_folder.File("conf/nbd/b.conf"), $"IMAGE=/data/b.qcow2\nOPTIONS={options}\n");
        var units = Generate();
        foreach (var unit in (string[])["qcow2blk@a", "qcow2blk-nbd@b"])
        {
            var text = units[$"{unit}.service.d/50-qcow2blk.conf"];
            var parts = text.Split("\n[Service]\n");
            Assert.Contains("\nWants=network-online.target\nAfter=network-online.target\n", parts[0], StringComparison.Ordinal);
            Assert.Contains(
                "RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_INET AF_INET6\nIPAddressDeny=\n", parts[1], StringComparison.Ordinal);
            Assert.Contains($"CacheDirectory={unit.Split('@')[0]}\nCacheDirectoryMode=0700\n", parts[1], StringComparison.Ordinal);
        }

        Assert.Contains("PrivateNetwork=no\n", units["qcow2blk-nbd@b.service.d/50-qcow2blk.conf"], StringComparison.Ordinal);
        Assert.Contains(
            "Environment=QCOW2BLK_CACHE_DIR=/var/cache/qcow2blk-nbd\n", units["qcow2blk-nbd@b.service.d/50-qcow2blk.conf"],
            StringComparison.Ordinal);
        Assert.DoesNotContain("PrivateNetwork", units["qcow2blk@a.service.d/50-qcow2blk.conf"], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--base /data/base.qcow2")]
    [InlineData("--base=base.qcow2 --queues 2")]
    [InlineData("--tag https://images.example/a.qcow2")]
    [InlineData("--base")]
    [InlineData("")]
    public void Other_devices_have_no_network(string options)
    {
        File.WriteAllText(_folder.File("conf/a.conf"), $"IMAGE=/data/a.qcow2\nOPTIONS={options}\n");
        File.WriteAllText(_folder.File("conf/nbd/b.conf"), $"IMAGE=/data/b.qcow2\nOPTIONS={options}\n");
        Assert.All(Generate().Values, text => Assert.DoesNotContain("[Service]", text, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("bad name.conf")]
    [InlineData(".hidden.conf")]
    [InlineData("disk.conf~")]
    public void Other_files_are_no_devices(string file)
    {
        File.WriteAllText(_folder.File("conf/" + file), "IMAGE=/a");
        Assert.Empty(Generate());
    }

    [Theory]
    [InlineData("A=b", "b")]
    [InlineData("  A = b c  \n", "b c")]
    [InlineData("A=first\nA=second", "second")]
    [InlineData("A=\"b c \" ", "b c ")]
    [InlineData("A='b \"c\"'", "b \"c\"")]
    [InlineData("A=b\\ \n", "b ")]
    [InlineData("A=b\\\nc", "bc")]
    [InlineData("A=\"b\\\"c\\d\"", "b\"c\\d")]
    [InlineData("A=b\"c d\"e", "bc de")]
    [InlineData("; A=no\n#A=no \\\nA=no\nA=yes", "yes")]
    [InlineData("nonsense\nA=b", "b")]
    [InlineData("A=", "")]
    public void Environment_files_are_read_as_systemd_reads_them(string text, string expected) =>
        Assert.Equal(expected, EnvironmentFile.Parse(text)["A"]);
}
