using System;
using System.IO;
using System.Linq;
using Qcow2Blk.Format;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Format;

/// <summary>An overlay says over which version of its base it was written, whatever else is done to it.</summary>
public sealed class BaseVersionTests : IDisposable
{
    private static readonly BaseVersion s_one = BaseVersion.Of(1 << 30, "\"65f1-1f400000\"");
    private static readonly BaseVersion s_other = BaseVersion.Of(1 << 29, "sha256:" + new string('a', 64));

    private readonly Qcow2Blk.Tests.Shared.TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData("", "")]
    [InlineData("cluster_size=4k", "base.qcow2")]
    [InlineData("cluster_size=1k", "base.qcow2")]
    [InlineData("", "https://images.example/a-rather-long-name-of-a-backing-file-that-reaches-into-the-sector-after-the-next-one.qcow2")]
    public void Header_says_at_any_moment_the_old_version_the_new_one_or_none_and_all_else(string options, string backing)
    {
        var cluster = FirstCluster.Make(_directory, options, backing);
        var before = Header.Parse(cluster, "test");
        BaseVersion? was = null;
        foreach (var version in (BaseVersion[])[s_one, s_other, s_one])
        {
            foreach (var step in version.Plan(cluster, "test"))
            {
                foreach (var torn in FirstCluster.Torn(cluster, step))
                {
                    var header = Header.Parse(torn, "test");
                    Assert.Equal((before.BackingFile, before.BackingFormat), (header.BackingFile, header.BackingFormat));
                    Assert.Equal(Others(before), Others(header));

                    // In two sectors it may be neither: that is refused, too.
                    if (was is null)
                        Assert.True(BaseVersion.In(header) is not { } found || found == version);
                    else
                        Assert.NotNull(BaseVersion.In(header));
                }

                cluster = step;
            }

            Assert.Equal(version, BaseVersion.In(Header.Parse(cluster, "test")));
            was = version;
        }
    }

    [Fact]
    public void Bitmaps_come_and_go_beside_it()
    {
        var cluster = s_other.Plan(FirstCluster.Make(_directory, "", "base.qcow2"), "test")[^1];
        var bitmaps = new BitmapsExtension(1, 32, new HostOffset(3 << 16));
        var room = BitmapsExtensionEdit.PlanRoom(cluster, bitmaps, "test");
        Assert.All(room, step => Assert.Equal(s_other, BaseVersion.In(Header.Parse(step, "test"))));
        cluster = BitmapsExtensionEdit.Plan(room[^1], bitmaps, "test")[^1];
        Assert.Equal(bitmaps, Header.Parse(cluster, "test").Bitmaps);
        cluster = BitmapsExtensionEdit.Plan(cluster, null, "test")[^1];
        Assert.Equal(s_other, BaseVersion.In(Header.Parse(cluster, "test")));
    }

    /// <summary>As the specification asks of those who do not know an extension.</summary>
    [Theory]
    [InlineData("amend", "-f", "qcow2", "-o", "lazy_refcounts=on")]
    [InlineData("rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", "another.raw")]
    [InlineData("snapshot", "-c", "now")]
    [InlineData("bitmap")]
    [InlineData("resize")]
    public void Qemu_keeps_it(params string[] command)
    {
        var image = _directory.File("image.qcow2");
        var cluster = s_one.Plan(FirstCluster.Make(_directory, "", ""), "test")[^1];
        using (var file = File.OpenWrite(image))
            file.Write(cluster);

        string[] arguments = command[0] switch
        {
            "bitmap" => ["bitmap", "--add", image, "daily"],
            "resize" => ["resize", "--shrink", image, "8M"],
            _ => [.. command, image],
        };
        Qemu.Img(arguments);

        var bytes = File.ReadAllBytes(image);
        Assert.NotEqual(cluster, bytes[..cluster.Length]);
        Assert.Equal(s_one, BaseVersion.In(Header.Parse(bytes, "test")));
    }

    [Fact]
    public void Header_without_room_is_left_alone()
    {
        var cluster = FirstCluster.Make(_directory, "cluster_size=512", new string('n', 300));
        Assert.Contains("no room", Assert.Throws<ImageFormatException>(() => s_one.Plan(cluster, "test")).Why);
    }

    [Fact]
    public void Damaged_one_is_refused()
    {
        var cluster = s_one.Plan(FirstCluster.Make(_directory, "", ""), "test")[^1];
        var data = Header.Parse(cluster, "test").Extensions.Single(extension => extension.Type == BaseVersion.Type).Offset + 8;
        foreach (var (offset, value) in ((int, byte)[])[(0, 0x80), (20, 7), (20, 0xff)])
        {
            var damaged = (byte[])cluster.Clone();
            damaged[data + offset] = value;
            var error = Assert.Throws<ImageFormatException>(() => BaseVersion.In(Header.Parse(damaged, "test")));
            Assert.Contains("base version extension", error.Why);
        }

        cluster[data - 1] = 88;
        Assert.Contains("must have 96", Assert.Throws<ImageFormatException>(() => BaseVersion.In(Header.Parse(cluster, "test"))).Why);
        Assert.Contains("must have 96", Assert.Throws<ImageFormatException>(() => s_other.Plan(cluster, "test")).Why);
    }

    [Fact]
    public void Versions_that_differ_are_told_apart_however_long_or_odd()
    {
        var versions = (string?[])[null, "a", "ä", "ä ", new string('v', 88), new string('v', 89), new string('v', 90), "a\nb"];
        var told = versions.Select(version => BaseVersion.Of(5, version)).ToList();
        Assert.Equal(versions.Length, told.Distinct().Count());
        Assert.NotEqual(BaseVersion.Of([(5, "a"), (6, "b")]), BaseVersion.Of([(5, "a"), (6, "c")]));
        Assert.NotEqual(BaseVersion.Of([(5, "a"), (6, "b")]), BaseVersion.Of([(5, "a"), (7, "b")]));
        Assert.Equal(BaseVersion.Of(5, "a"), BaseVersion.Of([(5, "a")]));
    }

    [Fact]
    public void Only_what_was_noted_counts()
    {
        var sized = BaseVersion.Of(5, null);
        Assert.True(sized.Allows(BaseVersion.Of(5, "a")));
        Assert.False(sized.Allows(BaseVersion.Of(6, null)));
        Assert.False(BaseVersion.Of(5, "a").Allows(sized));
        Assert.False(BaseVersion.Of(5, "a").Allows(BaseVersion.Of(5, "b")));
        Assert.False(BaseVersion.Of(5, "a").Allows(BaseVersion.Of(6, "a")));
    }

    private static string Others(Header header) => string.Join(' ', header.Extensions
        .Where(extension => extension.Type != BaseVersion.Type)
        .Select(extension => $"{extension.Type:x} {Convert.ToHexString(extension.Data)}"));
}
