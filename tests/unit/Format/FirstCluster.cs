using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Format;

/// <summary>First clusters of images of qemu, and what a power cut leaves of a write to them.</summary>
internal static class FirstCluster
{
    private const int Sector = 512;

    /// <summary>Every mixture of the sectors that differ.</summary>
    public static IEnumerable<byte[]> Torn(byte[] before, byte[] after)
    {
        int[] differing = [.. Enumerable.Range(0, before.Length / Sector)
            .Where(sector => !before.AsSpan(sector * Sector, Sector).SequenceEqual(after.AsSpan(sector * Sector, Sector)))];
        Assert.NotEmpty(differing);
        for (var mixture = 0; mixture < 1 << differing.Length; mixture++)
        {
            var torn = (byte[])before.Clone();
            for (var i = 0; i < differing.Length; i++)
            {
                if ((mixture & (1 << i)) != 0)
                    after.AsSpan(differing[i] * Sector, Sector).CopyTo(torn.AsSpan(differing[i] * Sector));
            }

            yield return torn;
        }
    }

    public static byte[] Make(Qcow2Blk.Tests.Shared.TempDirectory directory, string options, string backing)
    {
        var path = directory.File("image.qcow2");
        List<string> arguments = ["create", "-q", "-f", "qcow2"];
        if (options.Length > 0)
            arguments.AddRange(["-o", options]);
        if (backing.Length > 0)
            arguments.AddRange(["-u", "-F", "qcow2", "-b", backing]);
        Qemu.Img([.. arguments, path, "16M"]);
        var image = new ImageBytes(path);
        return image.Bytes.AsSpan(0, image.Header.ClusterSize).ToArray();
    }
}
