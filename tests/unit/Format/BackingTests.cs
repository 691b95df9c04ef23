using System.IO;
using Qcow2Blk.Format;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Format;

public sealed class BackingTests
{
    [Theory]
    [InlineData("/images/top.qcow2", "base.qcow2", "/images/base.qcow2")]
    [InlineData("/images/top.qcow2", "../base/b.qcow2", "/images/../base/b.qcow2")]
    [InlineData("/images/top.qcow2", "/b.qcow2", "/b.qcow2")]
    [InlineData("/images/top.qcow2", "./a:b", "/images/./a:b")]
    [InlineData("/images/top.qcow2", "dir/a:b", "/images/dir/a:b")]
    [InlineData("top.qcow2", "base.qcow2", "base.qcow2")]
    [InlineData("/a:b/top.qcow2", "base", "/a:b/base")]
    public void Name_is_resolved_against_the_overlays_directory(string overlay, string name, string resolved) =>
        Assert.Equal(resolved, BackingPath.Resolve(overlay, name));

    [Theory]
    [InlineData("nbd://host/x", "\"nbd:\"")]
    [InlineData("json:{\"driver\":\"file\"}", "names no file")]
    [InlineData("json:", "is not valid JSON")]
    [InlineData("json:{", "is not valid JSON")]
    [InlineData("json:[]", "is not a JSON object")]
    [InlineData("json:{\"driver\":\"nbd\",\"host\":\"x\"}", "member \"host\"")]
    [InlineData("json:{\"driver\":\"nbd\",\"file.filename\":\"/x\"}", "driver \"nbd\"")]
    [InlineData("json:{\"driver\":\"raw\",\"file.driver\":\"host_device\",\"file.filename\":\"/x\"}", "file.driver \"host_device\"")]
    [InlineData("json:{\"driver\":\"qcow2\",\"file\":\"node\"}", "member \"file\"")]
    [InlineData("json:{\"driver\":\"qcow2\",\"filename\":\"/x\"}", "member \"filename\"")]
    [InlineData("json:{\"driver\":\"file\",\"file.filename\":\"/x\"}", "member \"file.filename\"")]
    [InlineData("json:{\"driver\":\"qcow2\",\"file.filename\":\"/x\",\"file\":{\"filename\":\"/y\"}}", "twice")]
    [InlineData("json:{\"driver\":\"raw\",\"offset\":512,\"file.filename\":\"/x\"}", "\"offset\", which is not text")]
    [InlineData("json:{\"file\":{\"file\":{\"filename\":\"/x\"}}}", "member \"file.file.filename\"")]
    [InlineData("json:{\"file.filename\":\"x\"}", "\"x\", which is not absolute")]
    [InlineData("json:{\"file.filename\":\"nbd://x\"}", "not absolute")]
    [InlineData("file:/etc/passwd", "\"file:\"")]
    [InlineData("a:b", "\"a:\"")]
    [InlineData(":x", "\":\"")]
    [InlineData("", "empty")]
    public void Protocol_is_never_opened(string name, string says)
    {
        var error = Assert.Throws<ImageFormatException>(() => BackingPath.Resolve("/images/top.qcow2", name));

        Assert.Equal("backing_file_name", error.Field);
        Assert.Contains(says, error.Message);
    }

    [Theory]
    [InlineData("json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"/b\"}}", null, "qcow2")]
    [InlineData("json:{ \"file.filename\": \"/b\", \"driver\": \"raw\" }", null, "raw")]
    [InlineData("json:{\"file\":{\"filename\":\"/b\"}}", "raw", "raw")]
    [InlineData("json:{\"driver\":\"file\",\"filename\":\"/b\"}", "qcow2", "qcow2")]
    [InlineData("json:{\"driver\":\"qcow2\",\"file.filename\":\"/b\"}", "raw", "raw")]
    public void Description_of_a_file_is_a_name(string name, string? stated, string format)
    {
        using var directory = new TempDirectory();
        QemuImg.Create(directory.File("top.qcow2"), "1M");
        var image = new ImageBytes(directory.File("top.qcow2"));
        var bytes = HeaderWriter.Write(HeaderContent.Of(image.Header) with { BackingFile = name, BackingFormat = stated }, "top");

        var header = Header.Parse(bytes, "top");

        Assert.Equal("/b", BackingPath.Resolve("/images/top.qcow2", header.BackingFile!));
        Assert.Equal(format, ImageFormats.Words.Of(BackingFormatRule.Require(header)));
    }

    /// <summary>Neither name nor driver says what the file holds: it is not guessed.</summary>
    [Fact]
    public void Description_without_a_format_states_none()
    {
        using var directory = new TempDirectory();
        QemuImg.Create(directory.File("top.qcow2"), "1M");
        var image = new ImageBytes(directory.File("top.qcow2"));
        var header = Header.Parse(HeaderWriter.Write(HeaderContent.Of(image.Header) with
        {
            BackingFile = "json:{\"driver\":\"file\",\"filename\":\"/b\"}",
        }, "top"), "top");

        Assert.Contains("no stated format", Assert.Throws<ImageFormatException>(() => BackingFormatRule.Require(header)).Message);
        Assert.Equal(ImageFormat.Raw, BackingFormatRule.Require(header, ImageFormat.Raw));
    }

    [Fact]
    public void Relative_name_leads_to_the_file_that_qemu_reads()
    {
        using var directory = new TempDirectory();
        Directory.CreateDirectory(directory.File("a"));
        Directory.CreateDirectory(directory.File("b"));
        var top = directory.File("a/top.qcow2");
        QemuImg.Create(directory.File("b/base.qcow2"), "1M");
        QemuImg.Run("create", "-q", "-f", "qcow2", "-b", "../b/base.qcow2", "-F", "qcow2", top);

        var theirs = QemuImg.Info(top).GetProperty("full-backing-filename").GetString()!;
        var ours = BackingPath.Resolve(top, new ImageBytes(top).Header.BackingFile!);

        Assert.Equal(Path.GetFullPath(theirs), Path.GetFullPath(ours));
        Assert.True(File.Exists(ours));
    }

    [Fact]
    public void Format_that_is_not_stated_is_an_error_whose_hint_works()
    {
        using var directory = new TempDirectory();
        string top = directory.File("top.qcow2"), below = directory.File("base.raw");
        File.WriteAllBytes(below, new byte[65536]);
        QemuImg.Run("create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", top);
        var image = new ImageBytes(top);
        // The end marker where the format's extension was.
        image.Put64(image.Header.HeaderLength, 0);
        image.Save();

        var error = Assert.Throws<ImageFormatException>(() => BackingFormatRule.Require(image.Header));
        Assert.Contains("\"base.raw\" has no stated format", error.Message);
        Assert.Contains($"qemu-img rebase -u -F FORMAT -b \"base.raw\" \"{top}\"", error.Message);

        QemuImg.Run("rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", "base.raw", top);
        Assert.Equal(ImageFormat.Raw, BackingFormatRule.Require(new ImageBytes(top).Header));
    }

    [Fact]
    public void Unstated_format_is_the_one_given_and_a_stated_one_is_the_images()
    {
        using var directory = new TempDirectory();
        var top = directory.File("top.qcow2");
        QemuImg.Run("create", "-q", "-u", "-f", "qcow2", "-b", "base.raw", "-F", "raw", top, "1M");
        Assert.Equal(ImageFormat.Raw, BackingFormatRule.Require(new ImageBytes(top).Header, ImageFormat.Qcow2));
        var image = new ImageBytes(top);
        image.Put64(image.Header.HeaderLength, 0); // The end marker where the format's extension was.
        image.Save();
        var silent = new ImageBytes(top).Header;
        Assert.Equal(ImageFormat.Qcow2, BackingFormatRule.Require(silent, ImageFormat.Qcow2));

        Assert.Equal(ImageFormat.Raw, new BackingChoice(null, ImageFormat.Raw).Below(silent, isFirst: true)!.Value.Format);
        Assert.Equal(("/other", ImageFormat.Raw), Of(new BackingChoice("/other", ImageFormat.Raw).Below(silent, isFirst: true)));
        var deeper = new BackingChoice("/other", ImageFormat.Raw).Below(silent, isFirst: false);
        Assert.Equal((directory.File("base.raw"), ImageFormat.Raw), Of(deeper));
        QemuImg.Create(top, "1M");
        Assert.Null(new BackingChoice(null, ImageFormat.Raw).Below(new ImageBytes(top).Header, isFirst: true));
    }

    private static (string, ImageFormat) Of(BackingReference? reference) => (reference!.Value.Path, reference.Value.Format);

    [Fact]
    public void Other_formats_are_refused_by_name()
    {
        using var directory = new TempDirectory();
        var top = directory.File("top.qcow2");
        QemuImg.Run("create", "-q", "-u", "-f", "qcow2", "-b", "base.vmdk", "-F", "vmdk", top, "1M");

        var error = Assert.Throws<ImageFormatException>(() => BackingFormatRule.Require(new ImageBytes(top).Header));

        Assert.Contains("\"vmdk\" is not supported", error.Message);
    }
}
