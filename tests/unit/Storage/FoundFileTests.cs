using System;
using System.IO;
using Qcow2Blk.Storage;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Storage;

/// <summary>A file that was found stays that file, whatever becomes of its name.</summary>
public sealed class FoundFileTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public FoundFileTests()
    {
        foreach (var name in (string[])["allowed", "secret", "allowed-not"])
        {
            Directory.CreateDirectory(_directory.File(name));
            File.WriteAllText(_directory.File($"{name}/base.raw"), name);
        }

        Directory.CreateSymbolicLink(_directory.File("link"), "allowed");
    }

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void Link_that_is_swapped_after_the_look_changes_neither_the_check_nor_what_is_opened()
    {
        using var found = Find("link/base.raw");
        Directory.Delete(_directory.File("link"));
        Directory.CreateSymbolicLink(_directory.File("link"), "secret");

        Assert.True(found.LiesIn(_directory.File("allowed")));
        Assert.False(found.LiesIn(_directory.File("secret")));
        Assert.Equal(_directory.File("allowed/base.raw"), found.RealName);
        foreach (var readOnly in (bool[])[true, false])
        {
            Assert.Equal(0, FileStorage.Open(found, readOnly, direct: false, out var file));
            Assert.Equal((7, found.Identity), (file!.Length, file.Identity));
            file.Dispose();
        }

        using var now = Find("link/base.raw");
        Assert.True(now.LiesIn(_directory.File("secret")));
        Assert.False(now.LiesIn(_directory.File("allowed")));
        Assert.NotEqual(found.Identity, now.Identity);
    }

    [Theory]
    [InlineData("allowed/base.raw", true)]
    [InlineData("secret/../allowed/base.raw", true)]
    [InlineData("allowed-not/base.raw", false)]
    [InlineData("allowed/../secret/base.raw", false)]
    public void File_lies_where_it_is_by_its_real_path(string name, bool inside)
    {
        using var found = Find(name);
        Assert.Equal(inside, found.LiesIn(_directory.File("allowed")));
        Assert.Equal(inside, found.LiesIn(_directory.File("allowed") + "/"));
        Assert.True(found.LiesIn("/"));
    }

    [Fact]
    public void Pipes_and_directories_are_neither_waited_for_nor_opened()
    {
        Assert.Equal(0, Cli.Command.Start("mkfifo", "/nonexistent", _directory.File("pipe")).Status);
        Assert.Contains("it is neither a regular file nor a block device", Refusal("pipe"), StringComparison.Ordinal);
        Assert.Contains("it is a directory", Refusal("allowed"), StringComparison.Ordinal);
        Assert.Equal(-2, FoundFile.Find(_directory.File("none"), out _));
    }

    private string Refusal(string name)
    {
        using var found = Find(name);
        return Assert.Throws<IOException>(() => FileStorage.Open(found, readOnly: true, direct: false, out _)).Message;
    }

    private FoundFile Find(string name)
    {
        Assert.Equal(0, FoundFile.Find(_directory.File(name), out var found));
        return found!;
    }
}
