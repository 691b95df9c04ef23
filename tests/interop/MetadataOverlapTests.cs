using System;
using System.IO;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Whatever the tables of a damaged image say, its metadata is not written over.</summary>
public sealed class MetadataOverlapTests
{
    [Theory]
    [InlineData(0x10000UL, "the refcount table")]
    [InlineData(0x20000UL, "a refcount block")]
    [InlineData(0x30000UL, "the L1 table")]
    [InlineData(0x40000UL, "the L2 table")]
    [InlineData(0x12345600UL, "a place past the end that is not aligned")]
    public void Data_cluster_that_lies_on_metadata_is_never_written(ulong offset, string what)
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "1M");
        Run.QemuIo(image, "write -P 1 0 64k", "write -P 2 64k 64k");
        Bytes.Overwrite(image, 0x40000, Bytes.BigEndian((1UL << 63) | offset, 8));
        var metadata = File.ReadAllBytes(image)[0x10000..0x50000];

        var attached = folder.Qcow2Blk("attach", image, "--socket", folder.File("s"), "--name", "disk");
        if (attached.Status == 0)
        {
            var uri = attached.Output.Trim();
            var written = Run.Program("qemu-io", "-f", "raw", "-c", "write -P 9 0 4k", "-c", "flush", uri);
            folder.Qcow2Blk("detach", "disk", "--force").Passed();
            Assert.Contains("failed", written.Output + written.Errors);
        }
        else
        {
            attached.Refused(1, "disk.qcow2");
        }

        var after = File.ReadAllBytes(image);
        Assert.True(metadata.AsSpan().SequenceEqual(after.AsSpan(0x10000, 0x40000)), $"{what} was written");
        Run.QemuIo(image, "read -P 2 64k 64k");
    }

    [Fact]
    public void Suspend_of_a_disk_found_corrupt_says_that_it_did_not_end_well_and_lets_the_file_go()
    {
        using var folder = new Folder();
        var image = folder.Image("disk.qcow2", "1M");
        Run.QemuIo(image, "write -P 1 0 64k", "write -P 2 64k 64k");
        Bytes.Overwrite(image, 0x40000, Bytes.BigEndian((1UL << 63) | 0x30000UL, 8));
        var uri = folder.Qcow2Blk("attach", image, "--socket", folder.File("s"), "--name", "disk").Passed().Output.Trim();
        Run.Program("qemu-io", "-f", "raw", "-c", "write -P 9 0 4k", uri);

        folder.Qcow2Blk("suspend", "disk").Refused(1, "disk", "corrupt");

        Assert.Contains("suspended", folder.Qcow2Blk("status", "disk").Passed().Output);
        Run.Program("qemu-img", "check", image); // takes the lock, or says that it cannot
        folder.Qcow2Blk("detach", "disk").Passed();
    }
}
