using System;
using System.Buffers.Binary;

namespace Qcow2Blk.Format;

/// <summary>
/// What a file is that is not a qcow2 image, by the marks that its maker put into it. Only for messages: nothing is ever
/// opened as something because of what it holds.
/// </summary>
/// <param name="Description">"a VMDK image"</param>
/// <param name="Remedy">what to do about it, with FILE in the place of its name</param>
internal sealed record FileKind(string Description, string Remedy)
{
    /// <summary>Bytes from the start that hold all marks: the farthest is that of btrfs, in the block at 64 KiB.</summary>
    public const int StartBytes = 0x10000 + 512;

    /// <summary>Bytes from the end: the footer of a fixed VHD.</summary>
    public const int EndBytes = 512;

    private const string Convert = "convert it: qemu-img convert -O qcow2 FILE NEW.qcow2";
    private const string Raw = "attach it with --format raw";
    private const string RawFileSystem = "if it is the disk itself, attach it with --format raw";
    private const string NotAnImage = "this is not a disk";

    private static readonly FileKind s_vhd = new("a VHD image", "convert it: qemu-img convert -f vpc -O qcow2 FILE NEW.qcow2");

    /// <summary>
    /// In the order in which they are tried: a hybrid ISO image has a partition table, too. Sources: block/*.c of qemu for
    /// images; the magic(5) database, RFC 1952 and 8878, and the kernel's headers for the others.
    /// </summary>
    private static readonly (int Offset, byte[] Mark, FileKind Kind)[] s_marks =
    [
        (0, "KDMV"u8.ToArray(), new("a VMDK image", Convert)),
        (0, "COWD"u8.ToArray(), new("a VMDK image", Convert)),
        (0, "# Disk DescriptorFile"u8.ToArray(), new("a VMDK descriptor", Convert)),
        (64, [0x7f, 0x10, 0xda, 0xbe], new("a VDI image", Convert)),
        (0, "vhdxfile"u8.ToArray(), new("a VHDX image", Convert)),
        (0, "conectix"u8.ToArray(), s_vhd),
        (0, "QED\0"u8.ToArray(), new("a QED image", Convert)),
        (0, [(byte)'Q', (byte)'F', (byte)'I', 0xfb, 0, 0, 0, 1], new("a QCOW image of version 1", Convert)),
        (0, "WithoutFreeSpace"u8.ToArray(), new("a Parallels image", Convert)),
        (0, "WithouFreSpacExt"u8.ToArray(), new("a Parallels image", Convert)),
        (0, [(byte)'L', (byte)'U', (byte)'K', (byte)'S', 0xba, 0xbe], new("a LUKS container", "open it with cryptsetup")),
        (0, [0x1f, 0x8b], new("compressed with gzip", "decompress it first: gunzip -c FILE >NEW.qcow2")),
        (0, [0xfd, (byte)'7', (byte)'z', (byte)'X', (byte)'Z', 0],
            new("compressed with xz", "decompress it first: xz -dc FILE >NEW.qcow2")),
        (0, [0x28, 0xb5, 0x2f, 0xfd], new("compressed with zstd", "decompress it first: zstd -d FILE -o NEW.qcow2")),
        (0, "BZh"u8.ToArray(), new("compressed with bzip2", "decompress it first: bunzip2 -c FILE >NEW.qcow2")),
        (0, [0x04, 0x22, 0x4d, 0x18], new("compressed with lz4", "decompress it first: lz4 -d FILE NEW.qcow2")),
        (0, "PK\x03\x04"u8.ToArray(), new("a zip archive", "unpack it first: unzip FILE")),
        (0, [(byte)'7', (byte)'z', 0xbc, 0xaf, 0x27, 0x1c], new("a 7z archive", "unpack it first")),
        (257, "ustar"u8.ToArray(), new("a tar archive", "unpack it first: tar -xf FILE")),
        (0x8001, "CD001"u8.ToArray(), new("an ISO 9660 image", "attach it with --format raw --read-only")),
        (0, [0x7f, (byte)'E', (byte)'L', (byte)'F'], new("a program", NotAnImage)),
        (0, "<!DOCTYPE"u8.ToArray(), new("a web page", "the download may have failed")),
        (0, "<html"u8.ToArray(), new("a web page", "the download may have failed")),
        (0, "XFSB"u8.ToArray(), new("an XFS file system", RawFileSystem)),
        (0x438, [0x53, 0xef], new("an ext2, ext3 or ext4 file system", RawFileSystem)),
        (0x10040, "_BHRfS_M"u8.ToArray(), new("a btrfs file system", RawFileSystem)),
        (3, "NTFS    "u8.ToArray(), new("an NTFS file system", RawFileSystem)),
        (3, "EXFAT   "u8.ToArray(), new("an exFAT file system", RawFileSystem)),
        (54, "FAT"u8.ToArray(), new("a FAT file system", RawFileSystem)),
        (82, "FAT32"u8.ToArray(), new("a FAT file system", RawFileSystem)),
        (512, "LABELONE"u8.ToArray(), new("an LVM physical volume", RawFileSystem)),
        (0, "hsqs"u8.ToArray(), new("a squashfs file system", RawFileSystem)),
        (512, "EFI PART"u8.ToArray(), new("a disk with a GPT partition table", Raw)),
        (4096, "EFI PART"u8.ToArray(), new("a disk with a GPT partition table", Raw)),
    ];

    /// <summary>What the file is.</summary>
    /// <param name="start">its first bytes, <see cref="StartBytes"/> of them if it has so many</param>
    /// <param name="end">its last <see cref="EndBytes"/> bytes, or fewer</param>
    /// <returns>null if it has no mark that is known</returns>
    public static FileKind? Of(ReadOnlySpan<byte> start, ReadOnlySpan<byte> end)
    {
        if (start.IsEmpty)
            return new FileKind("empty", "qemu-img create -f qcow2 FILE SIZE makes an image");
        foreach ((var offset, var mark, var kind) in s_marks)
        {
            if (start.Length >= offset + mark.Length && start[offset..].StartsWith(mark))
                return kind;
        }

        if (end.StartsWith("conectix"u8))
            return s_vhd;
        if (HasPartitionTable(start))
            return new FileKind("a disk with an MBR partition table", Raw);
        return start.ContainsAnyExcept((byte)0) ? null
            : new FileKind($"nothing but zeroes in its first {start.Length} bytes", "if it is a raw disk, attach it with --format raw");
    }

    /// <summary>The refusal of a file, or null if it is a qcow2 image or has no mark that is known.</summary>
    public static ImageFormatException? Refusal(string path, ReadOnlySpan<byte> start, ReadOnlySpan<byte> end)
    {
        ArgumentNullException.ThrowIfNull(path);
        if (Of(start, end) is not { } kind)
            return null;
        var isThing = kind.Description.StartsWith("a ", StringComparison.Ordinal)
            || kind.Description.StartsWith("an ", StringComparison.Ordinal);
        var what = isThing ? $"it is {kind.Description}, not a qcow2 image"
            : kind.Description.StartsWith("nothing", StringComparison.Ordinal) ? $"not a qcow2 image: it holds {kind.Description}"
            : $"not a qcow2 image: the file is {kind.Description}";
        return new ImageFormatException(path, "magic", what, kind.Remedy.Replace("FILE", NameFor(path), StringComparison.Ordinal));
    }

    /// <summary>An MBR: the boot mark, and four entries of which each is empty or plausible, and not all are empty.</summary>
    private static bool HasPartitionTable(ReadOnlySpan<byte> start)
    {
        const int table = 446, entryBytes = 16, entries = 4;
        if (start.Length < 512 || start[510] != 0x55 || start[511] != 0xaa)
            return false;
        var used = 0;
        for (var i = 0; i < entries; i++)
        {
            var entry = start.Slice(table + i * entryBytes, entryBytes);
            if (entry[0] is not (0 or 0x80))
                return false;
            used += entry[4] != 0 && BinaryPrimitives.ReadUInt32LittleEndian(entry[12..]) != 0 ? 1 : 0;
        }

        return used > 0;
    }

    /// <summary>The name, if a shell takes it as it is.</summary>
    private static string NameFor(string path)
    {
        foreach (var c in path)
        {
            if (!char.IsAsciiLetterOrDigit(c) && !"/._+-".Contains(c, StringComparison.Ordinal))
                return "FILE";
        }

        return path;
    }
}
