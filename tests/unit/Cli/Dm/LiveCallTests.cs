using Qcow2Blk.Cli.Dm;
using Xunit;

namespace Qcow2Blk.Tests.Cli.Dm;

/// <summary>Which calls of qemu-img change a disk under its users.</summary>
public sealed class LiveCallTests
{
    [Theory]
    [InlineData("snapshot -a before disk.qcow2", true)]
    [InlineData("snapshot -abefore disk.qcow2", true)]
    [InlineData("snapshot -q -a before disk.qcow2", true)]
    [InlineData("snapshot -qa before disk.qcow2", true)]
    [InlineData("snapshot -f qcow2 -a before disk.qcow2", true)]
    [InlineData("snapshot --object secret,id=a -a before disk.qcow2", true)]
    [InlineData("snapshot -c -a disk.qcow2", false)]
    [InlineData("snapshot -ca disk.qcow2", false)]
    [InlineData("snapshot -d a disk.qcow2", false)]
    [InlineData("snapshot -l -a", false)]
    [InlineData("snapshot --object -a disk.qcow2", false)]
    [InlineData("snapshot -q -l disk.qcow2", false)]
    public void Applying_a_snapshot_is_told_from_making_one_of_that_name(string words, bool applies) =>
        Assert.Equal(applies, LiveCall.AppliesSnapshot(words.Split(' ')));
}
