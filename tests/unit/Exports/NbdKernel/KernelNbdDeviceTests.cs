using System;
using Qcow2Blk.Exports.NbdKernel;
using Xunit;

namespace Qcow2Blk.Tests.Exports.NbdKernel;

public sealed class KernelNbdDeviceTests
{
    [Theory]
    [InlineData("/dev/nbd0", 0)]
    [InlineData("/dev/nbd15", 15)]
    public void Node_is_taken_apart_and_put_together(string path, int index)
    {
        Assert.True(KernelNbdDevice.TryParse(path, out var device));
        Assert.Equal(index, device.Index);
        Assert.Equal(path, device.Path);
        Assert.Equal(path["/dev/".Length..], device.Name);
    }

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("/dev/nbd")]
    [InlineData("/dev/nbd0p1")]
    [InlineData("/dev/nbd-1")]
    [InlineData("/dev/nbd 1")]
    [InlineData("/dev/ublkb0")]
    [InlineData("/dev/nbd99999999999")]
    public void Other_nodes_are_none(string? path) => Assert.False(KernelNbdDevice.TryParse(path, out _));

    [Fact]
    public void Identifier_tells_names_and_images_apart_and_stays_short()
    {
        Assert.Equal("qcow2blk:a:/x/a.qcow2", KernelNbdDevice.IdentifierOf("a", "/x/a.qcow2"));
        Assert.NotEqual(KernelNbdDevice.IdentifierOf("a", "/" + new string('x', 2000)),
            KernelNbdDevice.IdentifierOf("a", "/" + new string('x', 2001)));
        Assert.True(KernelNbdDevice.IdentifierOf("a", "/" + new string('x', 4000)).Length < 256);
    }
}
