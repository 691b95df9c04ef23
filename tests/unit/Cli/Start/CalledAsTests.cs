using System.Text;
using Qcow2Blk.Cli.Start;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Cli.Start;

/// <summary>The name in the first word of /proc/self/cmdline.</summary>
public sealed class CalledAsTests
{
    [Theory]
    [InlineData("/sbin/mount.qcow2\0/data/disk.qcow2\0/mnt\0-o\0rw\0", "mount.qcow2")]
    [InlineData("qcow2-dm\0create\0", "qcow2-dm")]
    [InlineData("qcow2-dm", "qcow2-dm")]
    [InlineData("", "")]
    public void First_word_without_its_folders_is_the_name(string commandLine, string name) =>
        Assert.Equal(name, CalledAs.First(Encoding.UTF8.GetBytes(commandLine)));

    [Theory]
    [InlineData("mount.qcow2\0a\0b\0", "mount.qcow2")]
    [InlineData("/usr/bin/qcow2blk\0list\0", null)]
    [InlineData("", null)]
    public void Other_names_are_told_from_the_command_itself(string commandLine, string? expected)
    {
        using var folder = new TempDirectory();
        System.IO.File.WriteAllText(folder.File("cmdline"), commandLine);
        Assert.Equal(expected, CalledAs.OtherIn(folder.File("cmdline")));
    }

    [Fact]
    public void Without_proc_it_is_the_command_itself() => Assert.Null(CalledAs.OtherIn("/nonexistent/self/cmdline"));
}
