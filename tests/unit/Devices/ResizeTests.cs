using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;
using Qcow2Blk.Tests.Shared;
using Xunit;
using QemuImg = Qcow2Blk.Tests.Support.QemuImg;

namespace Qcow2Blk.Tests.Devices;

/// <summary>
/// A resize makes of an image what <c>qemu-img resize</c> makes of it, and refuses what that refuses, with nothing changed.
/// </summary>
public sealed class ResizeTests : IDisposable
{
    private const string Ours = "ours.qcow2";
    private const string Theirs = "theirs.qcow2";

    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData("compat=1.1", "3M", "12M", "5M")]
    [InlineData("compat=1.1", "4M", "+1.5G", "-1500M")]
    [InlineData("compat=0.10", "3M", "100M", "2M")]
    [InlineData("cluster_size=512", "3M", "9M", "1M")]
    [InlineData("cluster_size=512", "+512", "-1k", "4194816")]
    [InlineData("cluster_size=2M", "20M", "2M", "4M")]
    [InlineData("cluster_size=4k,refcount_bits=1", "+4k", "-8k", "64M")]
    [InlineData("refcount_bits=64", "1M", "1G", "512")]
    [InlineData("extended_l2=on", "3M", "9M", "128k")]
    [InlineData("extended_l2=on,cluster_size=16k", "3M", "90M", "2M")]
    [InlineData("cluster_size=4k,preallocation=metadata", "2M", "9M", "5M")]
    [InlineData("lazy_refcounts=on", "2M", "9M", "5M")]
    [InlineData("compression_type=zstd", "2M", "9M", "5M")]
    public void Disks_are_those_that_qemu_makes(string options, params string[] sizes)
    {
        Make(options, "4M");
        Fill(options);
        Copy();
        foreach (var size in sizes)
            ResizeBoth(size);
        Qemu.Io(File(Ours), "write -P 77 0 512");
        Assert.True(Qemu.Check(File(Ours), out var report) == Verdict.Clean, report);
    }

    [Theory]
    [InlineData("cluster_size=4k")]
    [InlineData("extended_l2=on,cluster_size=16k")]
    public void Snapshots_keep_what_they_have(string options)
    {
        Make(options, "4M");
        Fill(options);
        Qemu.Img("snapshot", "-c", "then", File(Ours));
        Qemu.Io(File(Ours), "write -P 9 100k 300k");
        Copy();
        foreach (var size in (string[])["1104k", "6M", "208k", "5M"])
        {
            ResizeBoth(size);
            Assert.Equal(Content(Theirs, "then"), Content(Ours, "then"));
        }

        Qemu.Img("snapshot", "-a", "then", File(Ours));
        Qemu.Img("snapshot", "-d", "then", File(Ours));
        Assert.True(Qemu.Check(File(Ours), out var report) == Verdict.Clean, report);
    }

    [Theory]
    [InlineData("compat=1.1", "100k", "2M", "130k", "3M")]
    [InlineData("cluster_size=4k", "100k", "101k", "102k", "3M")]
    [InlineData("extended_l2=on", "100k", "2M", "130k", "3M")]
    [InlineData("compat=0.10", "100k", "120k", "50k")]
    public void What_a_longer_backing_file_has_does_not_show_up(string options, string size, params string[] sizes)
    {
        Qemu.Img("create", "-q", "-f", "qcow2", File("base.qcow2"), "1M");
        Qemu.Io(File("base.qcow2"), "write -P 0xbb 0 1M");
        Qemu.Img("create", "-q", "-f", "qcow2", "-o", options, "-b", "base.qcow2", "-F", "qcow2", File(Ours), size);
        Copy();
        foreach (var next in sizes)
            ResizeBoth(next);
    }

    [Theory]
    [InlineData("data_file_raw=off")]
    [InlineData("data_file_raw=on")]
    [InlineData("data_file_raw=on,extended_l2=on")]
    [InlineData("data_file_raw=off,cluster_size=4k")]
    public void A_data_file_follows(string options)
    {
        foreach (var name in (string[])[Ours, Theirs])
        {
            Qemu.Img("create", "-q", "-f", "qcow2", "-o", $"{options},data_file={File(name)}.raw", File(name), "1000k");
            Qemu.Io(File(name), "write -P 5 0 200k", "write -P 6 900k 100k");
        }

        var isRaw = options.Contains("raw=on", StringComparison.Ordinal);
        foreach (var size in (string[])["2M", "950k", "3000k", "512"])
        {
            // Somebody has left something behind the end.
            if (size == "3000k")
                System.IO.File.AppendAllText(File(Ours) + ".raw", "left");
            ResizeBoth(size);
            var data = System.IO.File.ReadAllBytes(File(Ours) + ".raw");
            Assert.Equal(Content(Ours).Length, data.Length);
            if (isRaw)
                Assert.Equal(Content(Ours), data);
        }
    }

    [Fact]
    public void A_raw_data_file_is_mapped_where_the_disk_is_new()
    {
        Qemu.Img("create", "-q", "-f", "qcow2", "-o", $"data_file_raw=on,data_file={File("data")}", File(Ours), "1000k");
        Resize("3000k");

        // Who writes the file without the image is seen by who reads the image.
        using (var file = System.IO.File.OpenWrite(File("data")))
        {
            file.Position = 2 << 20;
            file.WriteByte(7);
        }

        Assert.Equal(7, Content(Ours)[2 << 20]);
    }

    [Fact]
    public void Encrypted_disks_grow_and_shrink()
    {
        LuksImage.Make(File(Ours), "encrypt.format=luks,cluster_size=4096", "1000k", "write -P 5 0 1000k");
        var options = new AttachOptions { Image = File(Ours), KeyFiles = [LuksImage.KeyFile(File(Ours))] };
        Resize("999k", options);
        Resize("2M", options);
        LuksImage.Io(File(Ours), "read -P 5 0 999k", "read -P 0 999k 1049k", "write -P 6 1M 1M", "read -P 6 1M 1M");
        Assert.True(Qemu.Check(LuksImage.Opened(File(Ours)), out var report) == Verdict.Clean, report);
        Assert.Contains("no key was given", Refused("3M").Why, StringComparison.Ordinal);
    }

    /// <summary>qemu shows these bytes again, as it leaves them in the last cluster: they are nobody's.</summary>
    [Theory]
    [InlineData("compat=1.1", false)]
    [InlineData("compat=0.10", false)]
    [InlineData("cluster_size=4k", true)]
    [InlineData("extended_l2=on", false)]
    [InlineData("extended_l2=on", true)]
    public void What_a_shrink_has_cut_off_stays_away(string options, bool shared)
    {
        Make(options, "1M");
        Qemu.Io(File(Ours), "write -P 7 0 1M");
        if (shared)
            Qemu.Img("snapshot", "-c", "then", File(Ours));
        Resize("100k");
        Resize("1M");
        Qemu.Io(File(Ours), "read -P 7 0 100k", "read -P 0 100k 924k");
        Assert.True(Qemu.Check(File(Ours), out var report) == Verdict.Clean, report);
        if (shared)
            Assert.True(!Content(Ours, "then").AsSpan().ContainsAnyExcept((byte)7));
    }

    [Fact]
    public void What_a_compressed_last_cluster_has_behind_the_end_stays_away()
    {
        Make("compat=1.1", "1M");
        Qemu.Io(File(Ours), "write -c -P 7 0 64k", "write -c -P 8 64k 64k");
        Resize("100k");
        Resize("1M");
        Qemu.Io(File(Ours), "read -P 7 0 64k", "read -P 8 64k 36k", "read -P 0 100k 924k");
        Assert.True(Qemu.Check(File(Ours), out var report) == Verdict.Clean, report);
    }

    /// <summary>The state of a virtual machine lies behind the end of the disk that a snapshot was taken of.</summary>
    [Fact]
    public void Clusters_behind_the_end_of_the_disk_do_not_show_up()
    {
        Make("cluster_size=4k", "4M");
        Qemu.Io(File(Ours), "write -P 7 0 4M");

        // As if somebody had made the disk smaller and left its clusters.
        using (var file = System.IO.File.OpenWrite(File(Ours)))
        {
            file.Position = 24;
            file.Write([0, 0, 0, 0, 0, 0x10, 0, 0]);
        }

        Resize("3M");
        Qemu.Io(File(Ours), "read -P 7 0 1M", "read -P 0 1M 2M");
        Assert.True(Qemu.Check(File(Ours), out var report) == Verdict.Clean, report);
    }

    [Theory]
    [InlineData("compat=1.1", 65536)]
    [InlineData("cluster_size=512", 512)]
    [InlineData("cluster_size=4k", 4096)]
    public void Bitmaps_follow_as_in_qemu(string options, int granularity)
    {
        Make(options, "10M");
        Qemu.Img("bitmap", "--add", "-g", $"{granularity}", File(Ours), "on");
        Qemu.Img("bitmap", "--add", "-g", $"{granularity}", File(Ours), "off");
        Qemu.Io(File(Ours), "write -P 1 9M 1M", "write -P 2 0 64k", "write -P 3 5M 100k");
        Qemu.Img("bitmap", "--disable", File(Ours), "off");
        Copy();
        foreach (var size in (string[])["20M", "9472k", "40M", "5M", "6M"])
        {
            ResizeBoth(size);
            foreach (var name in (string[])["on", "off"])
                Assert.Equal(QemuBitmap.Dirty(File(Theirs), name), QemuBitmap.Dirty(File(Ours), name));
            Assert.Equal(FlagsOf(Theirs), FlagsOf(Ours));
        }

        // It records on.
        Qemu.Io(File(Ours), "write -P 4 4M 64k");
        Assert.Contains(QemuBitmap.Dirty(File(Ours), "on"), range => range.Start <= 4 << 20 && range.Start + range.Length > 4 << 20);
    }

    /// <summary>The bitmaps extension is not in the first sector of the header: then it and the size cannot be written at once.</summary>
    [Fact]
    public void Bitmaps_follow_where_the_header_is_long()
    {
        Qemu.Img("create", "-q", "-f", "qcow2", File("base.qcow2"), "1M");
        LuksImage.Make(File(Ours), "cluster_size=16k,encrypt.format=luks", ["-b", "base.qcow2", "-F", "qcow2", "10M"]);
        Qemu.Img(["bitmap", "--add", "-g", "512", .. LuksImage.Opened(File(Ours)), "on"]);
        LuksImage.Io(File(Ours), "write -P 1 9M 1M");
        var header = Header.Parse(System.IO.File.ReadAllBytes(File(Ours)).AsSpan(0, 16384), Ours);
        Assert.True(header.Extensions.Single(extension => extension.Type == HeaderExtension.Bitmaps).Offset > 512 - 32);
        var options = new AttachOptions { Image = File(Ours), KeyFiles = [LuksImage.KeyFile(File(Ours))] };
        foreach (var size in (string[])["400M", "9500k", "12M"])
        {
            Resize(size, options);
            Assert.True(Qemu.Check(LuksImage.Opened(File(Ours)), out var report) == Verdict.Clean, report);
            LuksImage.Io(File(Ours), "read -P 1 9M 100k");
        }

        Assert.Contains("\"name\": \"on\"", Qemu.Img("info", "--output=json", File(Ours)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("2M", "use --shrink", false)]
    [InlineData("0", "there is none of the size", true)]
    [InlineData("-4M", "there is none of the size", true)]
    [InlineData("3E", "too large, clusters of 65536 bytes reach 2251799813685248", true)]
    [InlineData("2251799813685760", "too large, clusters of 65536 bytes reach 2251799813685248", true)]
    [InlineData("+9000P", "there is none of the size", true)]
    public void Sizes_that_are_refused_change_nothing(string size, string why, bool shrink) =>
        RefusedWithoutChange(size, why, shrink, () => Make("compat=1.1", "4M"));

    [Fact]
    public void Images_that_qemu_does_not_resize_are_refused()
    {
        RefusedWithoutChange("8M", "images of version 2 with snapshots cannot be resized", true, () =>
        {
            Make("compat=0.10", "4M");
            Qemu.Img("snapshot", "-c", "then", File(Ours));
        });
        RefusedWithoutChange("8M", "bitmap \"b\" is inconsistent", true, () =>
        {
            Make("compat=1.1", "4M");
            Qemu.Img("bitmap", "--add", File(Ours), "b");
            Qemu.Run("qemu-io", "-f", "qcow2", "-c", "write 0 1k", "-c", "abort", File(Ours));
        });
        RefusedWithoutChange("8M", "its backing file is longer than its disk", true, () =>
        {
            Qemu.Img("create", "-q", "-f", "qcow2", File("base.qcow2"), "6M");
            Qemu.Img("create", "-q", "-f", "qcow2", "-o", "compat=0.10", "-b", "base.qcow2", "-F", "qcow2", File(Ours), "4M");
        });
    }

    [Fact]
    public void A_bitmap_that_would_be_too_large_refuses_the_size() =>
        RefusedWithoutChange("300G", "bitmap \"b\": a bitmap of 629145600 bits is too large", true, () =>
        {
            Make("compat=1.1", "4M");
            Qemu.Img("bitmap", "--add", "-g", "512", File(Ours), "b");
        }, qemuRefuses: false);

    [Fact]
    public void Sizes_are_rounded_up_to_whole_sectors_and_that_is_said()
    {
        Make("compat=1.1", "4M");
        Assert.Equal("rounded up to 5000192 bytes: a disk has whole sectors", Resize("5000000").Note);
        Assert.Equal("{\"virtual-size\":5000704,\"former-virtual-size\":5000192}", Resize("+1").Json);
        Assert.Null(Resize("5000704").Note);
        Assert.Equal(5000704, QemuImg.Info(File(Ours)).GetProperty("virtual-size").GetInt64());
    }

    [Fact]
    public void Raw_images_are_resized_if_that_is_what_they_are_said_to_be()
    {
        Qemu.Img("create", "-q", "-f", "raw", File(Ours), "1M");
        Qemu.IoAs("raw", File(Ours), "write -P 3 0 1M");
        var options = new AttachOptions { Image = File(Ours), Format = ImageFormat.Raw };
        var refused = UnattachedImage.Edit(options, Edit("512k", shrink: false), new ListLog());
        Assert.Contains("use --shrink", refused.Hint, StringComparison.Ordinal);
        Assert.Equal(1 << 20, new FileInfo(File(Ours)).Length);
        Resize("512k", options);
        Resize("+1M", options);
        Assert.Equal(1536 << 10, new FileInfo(File(Ours)).Length);
        Qemu.IoAs("raw", File(Ours), "read -P 3 0 512k", "read -P 0 512k 1M");
    }

    [Theory]
    [InlineData("")]
    [InlineData("+")]
    [InlineData("G")]
    [InlineData("1.5")]
    [InlineData("1e9")]
    [InlineData("10QQ")]
    [InlineData("+-1G")]
    [InlineData("99999999999999999999999G")]
    public void What_is_not_a_size_is_refused(string size) => Assert.Throws<OutcomeException>(() => SizeChange.Parse(size));

    private void RefusedWithoutChange(string size, string why, bool shrink, Action make, bool qemuRefuses = true)
    {
        make();
        var before = System.IO.File.ReadAllBytes(File(Ours));
        var refused = Refused(size, shrink);
        Assert.Contains(why, $"{refused.Why} {refused.Hint}", StringComparison.Ordinal);
        Assert.True(before.AsSpan().SequenceEqual(System.IO.File.ReadAllBytes(File(Ours))), $"{size}: the file was changed");
        Copy();
        string[] arguments = ["resize", "-f", "qcow2", .. shrink ? (string[])["--shrink"] : [], File(Theirs), size];
        Assert.Equal(qemuRefuses, Qemu.Run("qemu-img", arguments).Exit != 0);
    }

    private Outcome Refused(string size, bool shrink = true)
    {
        try
        {
            var outcome = UnattachedImage.Edit(new AttachOptions { Image = File(Ours) }, Edit(size, shrink), new ListLog());
            Assert.False(outcome.Succeeded);
            return outcome;
        }
        catch (OutcomeException error)
        {
            return Outcome.Refused(error.Kind, error.What, error.Why, error.Hint);
        }
    }

    private void ResizeBoth(string size)
    {
        Resize(size);
        Qemu.Img("resize", "-q", "--shrink", "-f", "qcow2", File(Theirs), size);
        var (exit, output, errors) = Qemu.Run("qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", File(Ours), File(Theirs));
        Assert.True(exit == 0, $"{size}: {output}{errors}");
        Assert.Equal(SizeOf(Theirs), SizeOf(Ours));
        Assert.True(Qemu.Check(File(Ours), out var report) == Verdict.Clean, $"{size}: {report}");
    }

    private Outcome Resize(string size, AttachOptions? options = null)
    {
        var outcome = UnattachedImage.Edit(options ?? new AttachOptions { Image = File(Ours) }, Edit(size), new ListLog());
        Assert.True(outcome.Succeeded, $"{size}: {outcome.Why}");
        return outcome;
    }

    private static ImageEdit Edit(string size, bool shrink = true)
    {
        var arguments = new Dictionary<string, string> { ["size"] = size };
        if (shrink)
            arguments["shrink"] = "true";
        return new ImageEdit("resize", arguments);
    }

    private void Make(string options, string size) => Qemu.Img("create", "-q", "-f", "qcow2", "-o", options, File(Ours), size);

    /// <summary>Data at the beginning, in the middle and at the end; zeroes; compressed clusters where refcounts allow them.</summary>
    private void Fill(string options)
    {
        var commands = new List<string> { "write -P 1 0 300k", "write -P 2 1M 64k", "write -P 3 3M 1M" };
        if (!options.Contains("compat=0.10", StringComparison.Ordinal))
            commands.Add("write -z 2M 64k");
        if (!options.Contains("refcount_bits=1", StringComparison.Ordinal) && !options.Contains("=2M", StringComparison.Ordinal)
            && !options.Contains("preallocation", StringComparison.Ordinal))
        {
            commands.AddRange(["write -c -P 5 2560k 64k", "write -c -P 6 2624k 64k"]);
        }

        Qemu.Io(File(Ours), [.. commands]);
    }

    private void Copy() => System.IO.File.Copy(File(Ours), File(Theirs), overwrite: true);

    private byte[] Content(string name, string? snapshot = null)
    {
        string[] which = snapshot is null ? [] : ["-l", $"snapshot.name={snapshot}"];
        Qemu.Img(["convert", "-f", "qcow2", .. which, "-O", "raw", File(name), File("content")]);
        return System.IO.File.ReadAllBytes(File("content"));
    }

    private long SizeOf(string name) => QemuImg.Info(File(name)).GetProperty("virtual-size").GetInt64();

    private List<string> FlagsOf(string name) =>
        [.. QemuImg.Info(File(name)).GetProperty("format-specific").GetProperty("data").GetProperty("bitmaps").EnumerateArray()
            .Select(bitmap => bitmap.GetRawText())];

    private string File(string name) => _directory.File(name);
}
