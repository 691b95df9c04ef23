using System;
using System.IO;
using System.Linq;
using Qcow2Blk.Creation;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Interop;
using Qcow2Blk.Storage;
using Qcow2Blk.Tests.Support;
using Xunit;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Tests.Creation;

/// <summary>What happens to files that are there already, and what a failure leaves.</summary>
public sealed class NewFileTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    private string Disk => _directory.File("disk.qcow2");

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void File_that_is_there_stays_without_force()
    {
        File.WriteAllText(Disk, "precious");

        var error = Assert.Throws<OutcomeException>(() => CreateRulesTests.Create(Disk, "1M", ""));

        Assert.Equal($"cannot create {Disk}: it already exists (--force replaces it)", error.Message);
        Assert.Equal(-Errno.EEXIST, ErrorNumbers.Of(error));
        Assert.Equal("precious", File.ReadAllText(Disk));
    }

    [Fact]
    public void Force_replaces_the_file_and_keeps_its_mode()
    {
        File.WriteAllText(Disk, "old");
        File.SetUnixFileMode(Disk, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead);

        CreateRulesTests.Create(Disk, "1M", "", force: true);

        QemuImg.Check(Disk);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead, File.GetUnixFileMode(Disk));
        AssertOnly("disk.qcow2");
    }

    /// <summary>As mktemp makes one.</summary>
    [Fact]
    public void Empty_file_is_replaced_without_force()
    {
        File.WriteAllBytes(Disk, []);

        CreateRulesTests.Create(Disk, "1M", "");

        QemuImg.Check(Disk);
    }

    [Fact]
    public void Link_stays_a_link()
    {
        Directory.CreateDirectory(_directory.File("store"));
        File.WriteAllText(_directory.File("store/real"), "old");
        File.CreateSymbolicLink(Disk, "store/real");

        CreateRulesTests.Create(Disk, "1M", "", force: true);

        Assert.Equal("store/real", new FileInfo(Disk).LinkTarget);
        QemuImg.Check(_directory.File("store/real"));
    }

    [Fact]
    public void Image_in_use_is_never_replaced()
    {
        CreateRulesTests.Create(Disk, "1M", "");
        var before = File.ReadAllBytes(Disk);
        var descriptor = Files.Open(Disk, O_RDONLY | O_CLOEXEC);
        ImageLock.Acquire(descriptor, Disk, write: false);

        Assert.Throws<ImageLockedException>(() => CreateRulesTests.Create(Disk, "2M", "", force: true));

        Files.Close(descriptor);
        Assert.Equal(before, File.ReadAllBytes(Disk));
        AssertOnly("disk.qcow2");
    }

    [Fact]
    public void Image_does_not_replace_what_is_below_it()
    {
        CreateRulesTests.Create(Disk, "1M", "");
        CreateRulesTests.Create(_directory.File("top.qcow2"), null, "backing_file=disk.qcow2,backing_fmt=qcow2");

        foreach (var below in (string[])["disk.qcow2", "top.qcow2"])
        {
            var error = Assert.Throws<OutcomeException>(
                () => CreateRulesTests.Create(Disk, null, $"backing_file={below},backing_fmt=qcow2", force: true));
            Assert.Contains("backing chain", error.Message, StringComparison.Ordinal);
        }

        QemuImg.Check(Disk);
    }

    [Theory]
    [InlineData("disk.qcow2")]
    [InlineData("./disk.qcow2")]
    public void Data_file_is_another_file(string name)
    {
        var error = Assert.Throws<OutcomeException>(() => CreateRulesTests.Create(Disk, "1M", $"data_file={name}"));

        Assert.Contains("same file", error.Message, StringComparison.Ordinal);
        AssertOnly();
    }

    [Fact]
    public void Data_file_that_is_there_stays_without_force_and_no_image_is_made()
    {
        File.WriteAllText(_directory.File("data.raw"), "precious");

        Assert.Throws<OutcomeException>(() => CreateRulesTests.Create(Disk, "1M", "data_file=data.raw"));

        AssertOnly("data.raw");
        Assert.Equal("precious", File.ReadAllText(_directory.File("data.raw")));
    }

    [Fact]
    public void What_is_no_file_is_refused()
    {
        Directory.CreateDirectory(Disk);

        Assert.Throws<IOException>(() => CreateRulesTests.Create(Disk, "1M", "", force: true));
        Assert.Throws<IOException>(() => CreateRulesTests.Create("/dev/null", "1M", "", force: true));
        Assert.ThrowsAny<IOException>(() => CreateRulesTests.Create(_directory.File("nowhere/disk.qcow2"), "1M", ""));
    }

    /// <summary>The name is too long for the first cluster, which is found before a file is touched.</summary>
    [Fact]
    public void Refusal_leaves_the_file_that_was_to_be_replaced()
    {
        File.WriteAllText(Disk, "old");
        var name = new string('x', 200) + "/../" + new string('y', 200);
        Directory.CreateDirectory(_directory.File(new string('x', 200)));
        File.WriteAllBytes(_directory.File(new string('y', 200)), new byte[512]);

        Assert.Throws<Qcow2Blk.Format.ImageFormatException>(
            () => CreateRulesTests.Create(Disk, null, $"cluster_size=512,backing_file={name},backing_fmt=raw", force: true));

        Assert.Equal("old", File.ReadAllText(Disk));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void File_has_its_name_once_it_is_whole(bool nameless)
    {
        File.WriteAllText(Disk, "old");
        using (var abandoned = NewFile.Begin(Disk, force: true, nameless))
            abandoned.Write(0, "new"u8);
        Assert.Equal("old", File.ReadAllText(Disk));
        AssertOnly("disk.qcow2");

        using (var file = NewFile.Begin(Disk, force: true, nameless))
        {
            file.Write(0, "new"u8);
            Assert.Equal("old", File.ReadAllText(Disk));
            file.Publish();
        }

        Assert.Equal("new", File.ReadAllText(Disk));
        AssertOnly("disk.qcow2");
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void File_that_is_given_up_is_gone(bool nameless)
    {
        using (var abandoned = NewFile.Begin(Disk, force: false, nameless))
            abandoned.Write(0, "new"u8);
        AssertOnly();

        using (var file = NewFile.Begin(Disk, force: false, nameless))
            file.Publish();
        AssertOnly("disk.qcow2");
    }

    /// <summary>Somebody else made it while the image was being made.</summary>
    [Fact]
    public void File_that_appears_meanwhile_stays()
    {
        using var file = NewFile.Begin(Disk, force: false);
        File.WriteAllText(Disk, "precious");

        Assert.Throws<OutcomeException>(file.Publish);

        Assert.Equal("precious", File.ReadAllText(Disk));
    }

    private void AssertOnly(params string[] names) =>
        Assert.Equal(names, Directory.EnumerateFileSystemEntries(_directory.Path).Select(Path.GetFileName));
}
