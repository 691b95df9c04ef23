using System.Linq;
using Qcow2Blk.Cli.Mount;
using Qcow2Blk.Devices.Outcomes;
using Xunit;

namespace Qcow2Blk.Tests.Cli.Mount;

/// <summary>mount(8), "EXTERNAL HELPERS": what the helpers are called with.</summary>
public sealed class MountArgumentsTests
{
    private static MountArguments Mount(string line) => MountArguments.Parse(line.Split(' '), "sfnv", "Not", 2, "usage");

    [Theory]
    [InlineData("/d.qcow2 /mnt -o rw,noatime", "rw,noatime", "")]
    [InlineData("/d.qcow2 /mnt -v -o ro", "ro", "-v")]
    [InlineData("-nvo ro /d.qcow2 /mnt", "ro", "-n -v")]
    [InlineData("/d.qcow2 /mnt -s -orw -o noatime", "rw,noatime", "-s")]
    [InlineData("/d.qcow2 /mnt -N /proc/7/ns/mnt -o rw", "rw", "-N /proc/7/ns/mnt")]
    [InlineData("-o rw -- /d.qcow2 /mnt", "rw", "")]
    public void Words_options_and_flags_come_in_any_order(string line, string options, string passedOn)
    {
        var arguments = Mount(line);
        Assert.Equal(["/d.qcow2", "/mnt"], arguments.Words);
        Assert.Equal((options, passedOn), (arguments.OptionList, string.Join(' ', arguments.PassOn("snv"))));
    }

    [Theory]
    [InlineData("/d.qcow2 /mnt -t qcow2.ext4", "ext4")]
    [InlineData("/d.qcow2 /mnt -t qcow2", null)]
    [InlineData("/d.qcow2 /mnt", null)]
    public void Subtype_is_the_file_system(string line, string? type) => Assert.Equal(type, Mount(line).Subtype);

    [Theory]
    [InlineData("/d.qcow2")]
    [InlineData("/d.qcow2 /mnt /other")]
    [InlineData("/d.qcow2 /mnt -o")]
    [InlineData("/d.qcow2 /mnt -x")]
    [InlineData("/d.qcow2 /mnt -vx")]
    public void Other_words_are_refused(string line) =>
        Assert.Equal(OutcomeKind.Invalid, Assert.Throws<OutcomeException>(() => Mount(line)).Kind);

    [Fact]
    public void Fake_and_verbose_are_seen() =>
        Assert.Equal((true, true, false), (Mount("a b -fv").Fake, Mount("a b -fv").Verbose, Mount("a b -fv").KeepsNoTable));
}
