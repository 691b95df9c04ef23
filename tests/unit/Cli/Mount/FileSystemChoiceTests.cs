using System.Linq;
using Qcow2Blk.Cli.Mount;
using Qcow2Blk.Devices.Outcomes;
using Xunit;

namespace Qcow2Blk.Tests.Cli.Mount;

/// <summary>Which of the file systems on a disk is mounted, from what blkid -p -o export prints.</summary>
public sealed class FileSystemChoiceTests
{
    private const string Root = "DEVNAME=/dev/ublkb0p1\nLABEL=my\\ root\nUUID=5bf2\nVERSION=1.0\nTYPE=ext4\nUSAGE=filesystem\n";
    private const string Boot = "DEVNAME=/dev/ublkb0p15\nUUID=1C5F\nVERSION=FAT16\nTYPE=vfat\nUSAGE=filesystem\n";
    private const string Swap = "DEVNAME=/dev/ublkb0p2\nTYPE=swap\nUSAGE=other\n";
    private const string Luks = "DEVNAME=/dev/ublkb0p3\nVERSION=2\nTYPE=crypto_LUKS\nUSAGE=crypto\n";

    private static DiskContent Part(int number, string export) => DiskContent.Parse($"/dev/ublkb0p{number}", number, export, 100L << 20);

    private static string Refusal(string? type, params DiskContent[] contents)
    {
        var refusal = Assert.Throws<OutcomeException>(() => FileSystemChoice.Choose(contents, type, "cannot mount d"));
        Assert.Equal(OutcomeKind.Failed, refusal.Kind);
        return refusal.Message;
    }

    [Fact]
    public void Only_file_system_is_chosen_beside_swap_and_nothing() =>
        Assert.Equal("/dev/ublkb0p1", FileSystemChoice.Choose([Part(1, Root), Part(2, Swap), Part(14, "")], null, "").Node);

    [Fact]
    public void Several_are_listed_with_types_and_sizes_for_the_user_to_choose() =>
        Assert.Equal("cannot mount d: it has 2 file systems: partition 1 (ext4, 100 MiB, \"my root\"), partition 15 (vfat, 100 MiB)"
            + " (choose one with -o partition=N)", Refusal(null, Part(1, Root), Part(15, Boot)));

    [Fact]
    public void Type_that_one_of_several_has_chooses_it()
    {
        Assert.Equal("/dev/ublkb0p15", FileSystemChoice.Choose([Part(1, Root), Part(15, Boot)], "vfat", "").Node);
        Assert.Contains("2 file systems", Refusal("xfs", Part(1, Root), Part(15, Boot)));
    }

    [Fact]
    public void Where_none_is_found_what_is_there_is_said_and_how_to_open_what_is_encrypted()
    {
        Assert.Equal("cannot mount d: no file system was found on the disk itself (nothing known, 64 MiB)",
            Refusal(null, DiskContent.Parse("/dev/ublkb0", null, "", 64 << 20)));
        Assert.Contains("partition 3 (crypto_LUKS, 100 MiB) (attach the image and open it with cryptsetup(8)",
            Refusal(null, Part(2, Swap), Part(3, Luks)));
    }

    [Fact]
    public void Partition_table_is_seen() =>
        Assert.Equal("gpt", DiskContent.Parse("/dev/ublkb0", null, "DEVNAME=/dev/ublkb0\nPTUUID=9d\nPTTYPE=gpt\n", 1).Table);
}
