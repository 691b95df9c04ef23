using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.IO.Compression;
using System.Linq;
using System.Text;
using Qcow2Blk.Format;
using Qcow2Blk.Tests.Cli;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Format;

/// <summary>Files that other programs made are named for what they are, by every verb that opens an image.</summary>
public sealed class FileKindTests : IDisposable
{
    private readonly Shared.TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData("vmdk", "", "a VMDK image", "qemu-img convert -O qcow2")]
    [InlineData("vmdk", "subformat=monolithicFlat", "a VMDK descriptor", "qemu-img convert -O qcow2")]
    [InlineData("vmdk", "subformat=streamOptimized", "a VMDK image", "qemu-img convert -O qcow2")]
    [InlineData("vdi", "", "a VDI image", "qemu-img convert -O qcow2")]
    [InlineData("vpc", "", "a VHD image", "qemu-img convert -f vpc -O qcow2")]
    [InlineData("vpc", "subformat=fixed", "a VHD image", "qemu-img convert -f vpc -O qcow2")]
    [InlineData("vhdx", "", "a VHDX image", "qemu-img convert -O qcow2")]
    [InlineData("qed", "", "a QED image", "qemu-img convert -O qcow2")]
    [InlineData("qcow", "", "a QCOW image of version 1", "qemu-img convert -O qcow2")]
    [InlineData("parallels", "", "a Parallels image", "qemu-img convert -O qcow2")]
    public void Image_of_another_format_is_named_with_how_to_convert_it(string format, string options, string kind, string remedy)
    {
        var image = _directory.File($"disk.{format}");
        string[] arguments = options.Length == 0 ? ["create", "-q", "-f", format, image, "4M"]
            : ["create", "-q", "-f", format, "-o", options, image, "4M"];
        Qemu.Img(arguments);
        AssertNamed(image, kind, $"{remedy} {image}");
    }

    [Fact]
    public void Luks_container_is_named()
    {
        var image = _directory.File("disk.luks");
        // On a busy machine qemu cannot measure how many rounds it can do in a short time.
        var made = Array.Exists([10, 100, 1000], milliseconds => Try(
            $"qemu-img create -q --object secret,id=s,data=x -f luks -o key-secret=s,iter-time={milliseconds} '{image}' 1M"));
        Assert.SkipUnless(made, "qemu-img finds no time to measure the processor");
        AssertNamed(image, "a LUKS container", "cryptsetup");
    }

    [Theory]
    [InlineData("gzip", "compressed with gzip", "gunzip")]
    [InlineData("xz", "compressed with xz", "xz -dc")]
    [InlineData("bzip2", "compressed with bzip2", "bunzip2")]
    [InlineData("zstd", "compressed with zstd", "zstd -d")]
    [InlineData("lz4", "compressed with lz4", "lz4 -d")]
    public void Compressed_image_is_named_with_how_to_decompress_it(string program, string kind, string remedy)
    {
        Assert.SkipUnless(File.Exists($"/usr/bin/{program}") || File.Exists($"/bin/{program}"), $"no {program}");
        var image = _directory.File("disk.qcow2");
        Qemu.Img("create", "-q", "-f", "qcow2", image, "1M");
        var packed = _directory.File("packed");
        Shell($"{program} -c '{image}' >'{packed}'");
        AssertNamed(packed, kind, remedy);
    }

    [Fact]
    public void Archives_are_named()
    {
        var zip = _directory.File("disk.zip");
        using (var archive = ZipFile.Open(zip, ZipArchiveMode.Create))
            archive.CreateEntry("disk.qcow2").Open().Dispose();
        AssertNamed(zip, "a zip archive", "unzip");
        var tar = _directory.File("disk.tar");
        Shell($"tar -cf '{tar}' -C / etc/hostname");
        AssertNamed(tar, "a tar archive", "tar -xf");
    }

    [Theory]
    [InlineData("label: gpt\n,,L\n", "a disk with a GPT partition table")]
    [InlineData("label: dos\n,,L\n", "a disk with an MBR partition table")]
    public void Partitioned_disk_is_named(string table, string kind)
    {
        Assert.SkipUnless(File.Exists("/usr/sbin/sfdisk") || File.Exists("/sbin/sfdisk"), "no sfdisk");
        var disk = Zeroes("disk.raw", 16 << 20);
        Shell($"printf '{table.Replace("\n", "\\n", StringComparison.Ordinal)}' | PATH=$PATH:/sbin:/usr/sbin sfdisk -q '{disk}'");
        AssertNamed(disk, kind, "--format raw");
    }

    [Theory]
    [InlineData("mkfs.ext4 -q -F", "an ext2, ext3 or ext4 file system")]
    [InlineData("mkfs.xfs -q -f", "an XFS file system")]
    public void Bare_file_system_is_named(string make, string kind)
    {
        Assert.SkipUnless(File.Exists($"/sbin/{make.Split(' ')[0]}") || File.Exists($"/usr/sbin/{make.Split(' ')[0]}"), $"no {make}");
        var disk = Zeroes("disk.raw", 320 << 20);
        Shell($"PATH=$PATH:/sbin:/usr/sbin {make} '{disk}'");
        AssertNamed(disk, kind, "--format raw");
    }

    public static TheoryData<string, int, byte[], string> Marks() => new()
    {
        { "iso", 0x8001, "CD001"u8.ToArray(), "an ISO 9660 image" },
        { "btrfs", 0x10040, "_BHRfS_M"u8.ToArray(), "a btrfs file system" },
        { "ntfs", 3, "NTFS    "u8.ToArray(), "an NTFS file system" },
        { "fat", 82, "FAT32   "u8.ToArray(), "a FAT file system" },
        { "html", 0, "<!DOCTYPE html>"u8.ToArray(), "a web page" },
        { "7z", 0, [0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c], "a 7z archive" },
        { "zeroes", 0, [0], "nothing but zeroes" },
    };

    [Theory]
    [MemberData(nameof(Marks))]
    public void File_with_a_known_mark_is_named(string name, int offset, byte[] mark, string kind)
    {
        var file = Zeroes(name, 1 << 20);
        using (var handle = File.OpenHandle(file, FileMode.Open, FileAccess.Write))
            RandomAccess.Write(handle, mark, offset);
        AssertNamed(file, kind, "");
    }

    [Fact]
    public void Empty_file_is_named() => AssertNamed(Zeroes("disk.img", 0), "the file is empty", "qemu-img create -f qcow2");

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(71)]
    [InlineData(511)]
    [InlineData(4097)]
    [InlineData(70000)]
    public void File_of_any_length_with_no_mark_is_refused_for_its_magic(int length)
    {
        var file = _directory.File("noise");
        File.WriteAllBytes(file, [.. Enumerable.Range(0, length).Select(i => (byte)(i * 7 + 3))]);
        Assert.Contains("qcow2", Refusal(file, "info"), StringComparison.Ordinal);
        Assert.Contains("qcow2", Refusal(file, "attach"), StringComparison.Ordinal);
    }

    [Fact]
    public void Backing_file_of_another_kind_is_named()
    {
        var image = _directory.File("base.vmdk");
        var overlay = _directory.File("overlay.qcow2");
        Qemu.Img("create", "-q", "-f", "vmdk", image, "4M");
        Qemu.Img("create", "-q", "-u", "-f", "qcow2", "-b", image, "-F", "qcow2", overlay, "4M");
        Assert.Contains($"{image}: it is a VMDK image, not a qcow2 image", Refusal(overlay, "attach"), StringComparison.Ordinal);
        Assert.Contains("it is a VMDK image, not a qcow2 image", Refusal(overlay, "map"), StringComparison.Ordinal);
    }

    [Fact]
    public void Qcow2_image_has_no_other_kind()
    {
        var image = _directory.File("disk.qcow2");
        Qemu.Img("create", "-q", "-f", "qcow2", image, "1M");
        Assert.Null(FileKind.Of(File.ReadAllBytes(image), []));
    }

    [Fact]
    public void Remedy_names_the_file_only_as_a_shell_takes_it()
    {
        Assert.Contains("qemu-img convert -O qcow2 a.vmdk ", FileKind.Refusal("a.vmdk", "KDMV"u8, [])!.Hint, StringComparison.Ordinal);
        Assert.Contains("qemu-img convert -O qcow2 FILE ", FileKind.Refusal("a;rm -rf x.vmdk", "KDMV"u8, [])!.Hint,
            StringComparison.Ordinal);
    }

    private string Zeroes(string name, long length)
    {
        var path = _directory.File(name);
        using var file = File.Create(path);
        file.SetLength(length);
        return path;
    }

    private void AssertNamed(string file, string kind, string remedy)
    {
        foreach (var verb in (List<string>)["attach", "info", "map"])
        {
            var message = Refusal(file, verb);
            Assert.Contains(kind, message, StringComparison.Ordinal);
            Assert.Contains("not a qcow2 image", message, StringComparison.Ordinal);
            Assert.Contains(remedy, message, StringComparison.Ordinal);
        }
    }

    private string Refusal(string file, string verb)
    {
        string[] arguments = verb == "attach" ? [verb, file, "--socket", _directory.File("s")] : [verb, file];
        var (status, output, errors) = Command.RunIn(_directory.File("run"), arguments);
        Assert.Equal((1, ""), (status, output));
        Assert.Equal(errors.Length - 1, errors.IndexOf('\n', StringComparison.Ordinal));
        return errors;
    }

    private static bool Try(string script)
    {
        using var shell = Process.Start("bash", ["-c", $"{script} 2>/dev/null"])!;
        shell.WaitForExit();
        return shell.ExitCode == 0;
    }

    private static void Shell(string script)
    {
        using var shell =
            Process.Start(new ProcessStartInfo("bash", ["-c", $"set -o pipefail; {script}"]) { RedirectStandardError = true })!;
        var errors = shell.StandardError.ReadToEnd();
        shell.WaitForExit();
        Assert.True(shell.ExitCode == 0, $"{script}: {errors}");
    }
}
