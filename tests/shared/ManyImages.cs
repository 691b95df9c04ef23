using System;
using System.IO;
using System.Text;

namespace Qcow2Blk.Tests.Shared;

/// <summary>
/// Backing chains of hundreds of images, made quickly: qemu-img makes a base and one overlay, whose bytes become all the
/// others. Images are named c000.qcow2 (the base), c001.qcow2 and so on.
/// </summary>
internal static class ManyImages
{
    public const long DiskSize = 4 << 20;

    /// <summary>A chain of so many images, whose base begins with 64 KiB of the value 9.</summary>
    /// <returns>the path of the top</returns>
    public static string Make(string directory, int images)
    {
        var path = At(directory, 0);
        Qemu.Img("create", "-q", "-f", "qcow2", "-o", "cluster_size=4096", path, $"{DiskSize}");
        Qemu.Io(path, "write -P 9 0 64k");
        var template = Path.Combine(directory, "template");
        Qemu.Img("create", "-q", "-u", "-f", "qcow2", "-o", "cluster_size=4096", "-b", Name(0), "-F", "qcow2", template, $"{DiskSize}");
        var bytes = File.ReadAllBytes(template);
        File.Delete(template);
        for (var index = 1; index < images; index++)
            Over(directory, index, bytes, index - 1);
        return At(directory, images - 1);
    }

    public static string At(string directory, int index) => Path.Combine(directory, Name(index));

    /// <summary>Makes the base an overlay of the image with this index: the chain has no end then.</summary>
    public static void Close(string directory, int index) => Over(directory, 0, File.ReadAllBytes(At(directory, 1)), index);

    private static void Over(string directory, int index, byte[] template, int below)
    {
        var bytes = (byte[])template.Clone();
        var name = bytes.AsSpan().IndexOf("c000.qcow2"u8);
        Encoding.ASCII.GetBytes(Name(below)).CopyTo(bytes, name);
        File.WriteAllBytes(At(directory, index), bytes);
    }

    private static string Name(int index) => $"c{index:000}.qcow2";
}
