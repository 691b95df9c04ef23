using System;
using System.Diagnostics;
using System.IO;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Raw;
using Qcow2Blk.Inspect;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Storage;

/// <summary>Holes of real files, as the kernel tells them: on a disk and in memory, past the page cache and through it.</summary>
public sealed class FileHolesTests : IDisposable
{
    private const int Block = 65536;
    private const int Blocks = 64;

    private readonly TempDirectory _directory = new();
    private readonly string _memory = Directory.CreateDirectory($"/dev/shm/q2b-{Guid.NewGuid():N}"[..20]).FullName;
    private readonly LoopOfThisTest _loop = new();

    public void Dispose()
    {
        _loop.Dispose();
        _directory.Dispose();
        Directory.Delete(_memory, recursive: true);
    }

    [Theory]
    [InlineData("disk", false, false)]
    [InlineData("disk", true, false)]
    [InlineData("disk", false, true)]
    [InlineData("disk", true, true)]
    [InlineData("memory", false, false)]
    [InlineData("memory", false, true)]
    public void Write_that_was_acknowledged_is_data_though_nothing_was_flushed(string where, bool direct, bool reserved)
    {
        using var file = Open(where, direct, reserved);
        var random = new Random(1);
        for (var step = 0; step < 400; step++)
        {
            var offset = (long)random.Next(Blocks * Block / 4096) * 4096;
            for (var other = 0; other < 4; other++)
                file.FindRange((long)random.Next(Blocks) * Block);
            file.FindRange(offset - (offset % Block));
            file.FindRange(offset);
            Assert.Equal(0, _loop.Run(() => WriteAsync(file, offset, 4096)));

            var range = _loop.Run(() => new LoopTask<FileRange>(file.FindRange(offset)));

            Assert.False(range.IsHole, $"step {step}: {offset}");
            Assert.InRange(range.End, offset + 4096, long.MaxValue);
        }
    }

    [Theory]
    [InlineData("disk", false)]
    [InlineData("disk", true)]
    [InlineData("memory", false)]
    public void Hole_reads_as_zeroes_and_data_in_the_file_is_told_apart(string where, bool direct)
    {
        using var file = Open(where, direct, reserved: false);
        Assert.Equal(0, _loop.Run(() => WriteAsync(file, 5 * Block, Block)));
        Assert.Equal(0, _loop.Run(() => WriteAsync(file, 7 * Block, 2 * Block)));

        Assert.Equal((true, 5L * Block), Range(file, 0));
        Assert.Equal((true, 5L * Block), Range(file, 4 * Block + 512));
        Assert.Equal((false, 6L * Block), Range(file, 5 * Block + 4096));
        Assert.Equal((true, 7L * Block), Range(file, 6 * Block));
        Assert.Equal((false, 9L * Block), Range(file, 7 * Block));
        Assert.Equal((true, long.MaxValue), Range(file, 9 * Block));
        Assert.Equal((true, long.MaxValue), Range(file, 1L << 50));
    }

    [Theory]
    [InlineData("punch")]
    [InlineData("cut")]
    public void Data_that_became_a_hole_is_seen_as_one(string how)
    {
        using var file = Open("disk", direct: false, reserved: false);
        Assert.Equal(0, _loop.Run(() => WriteAsync(file, 0, 8 * Block)));
        Assert.Equal((false, 8L * Block), Range(file, 0));

        Assert.Equal(0, _loop.Run(() => how == "punch" ? file.PunchAsync(2 * Block, Block) : file.SetLengthAsync(2 * Block)));

        Assert.Equal((false, 2L * Block), Range(file, 0));
        Assert.True(Range(file, 2 * Block).IsHole);
    }

    [Fact]
    public void Walk_over_much_data_asks_the_file_once()
    {
        using var file = Open("disk", direct: false, reserved: false);
        Assert.Equal(0, _loop.Run(() => WriteAsync(file, 0, Blocks * Block)));
        var seeks = 0;
        for (var offset = 0L; offset < Blocks * Block; offset += 4096)
            seeks += file.FindRange(offset).Seeks;
        Assert.Equal(2, seeks);
        Assert.True(file.IsKnownData(0, Blocks * Block));
    }

    [Fact]
    public void Last_sector_of_a_file_that_ends_within_it_is_whole()
    {
        var path = _directory.File("odd");
        File.WriteAllBytes(path, new byte[8192 + 100]);
        Assert.Equal(0, FileStorage.Open(path, readOnly: true, direct: false, out var file));
        using (file)
            Assert.Equal((false, 8192L + 512), Range(file!, 8192));
    }

    [Theory]
    [InlineData(long.MaxValue)]
    [InlineData(long.MaxValue - 511)]
    [InlineData((long.MaxValue & -(1L << 30)) + 1)]
    public void File_longer_than_any_disk_is_refused_by_size(long length)
    {
        var path = Huge(length);
        foreach (var open in (Action[])[() => FileStorage.Open(path, readOnly: true, direct: false, out _), () => InspectedFile.Open(path)])
        {
            var error = Assert.Throws<IOException>(open);
            Assert.Contains($"its size of {length} bytes is more than {Limits.MaxFileBytes}", error.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Disk_of_the_largest_file_is_its_size_and_readable_to_its_last_byte()
    {
        var path = Huge(Limits.MaxFileBytes);
        Assert.Equal(0, FileStorage.Open(path, readOnly: false, direct: false, out var file));
        var disk = new RawDisk(file!, readOnly: false);
        Assert.Equal(Limits.MaxFileBytes, disk.Size);
        using var buffer = new TableBuffer(4096);
        foreach (var (offset, expected) in ((long, int)[])[(disk.Size - 4096, 0), (disk.Size - 4095, -22), (disk.Size, -22),
            (long.MaxValue, -22), (-1, -22)])
        {
            Assert.Equal(expected, _loop.Run(() => disk.ReadAsync(offset, buffer.Take(4096))));
            Assert.Equal(expected, _loop.Run(() => disk.WriteAsync(offset, buffer.Take(4096), forceUnitAccess: false)));
            Assert.Equal(expected, _loop.Run(() => disk.MapAsync(offset, 4096)).Error);
            Assert.Equal(expected, _loop.Run(() => disk.WriteZeroesAsync(offset, 4096, ZeroFlags.MayUnmap)));
            Assert.Equal(expected, _loop.Run(() => disk.DiscardAsync(offset, 4096)));
        }

        Assert.Equal(0, _loop.Run(() => disk.DiscardAsync(1, disk.Size - 1)));
        Assert.Equal(disk.Size, _loop.Run(() => disk.MapAsync(0, disk.Size)).Length);
        Assert.Equal(0, _loop.Run(disk.CloseAsync));
    }

    private string Huge(long length)
    {
        // Only memory has files as long as that.
        var path = Path.Combine(_memory, "huge");
        using var made = File.Create(path);
        made.SetLength(length);
        return path;
    }

    private (bool IsHole, long End) Range(FileStorage file, long offset)
    {
        var range = _loop.Run(() => new LoopTask<FileRange>(file.FindRange(offset)));
        return (range.IsHole, range.End);
    }

    private FileStorage Open(string where, bool direct, bool reserved)
    {
        var path = where == "disk" ? _directory.File("file") : Path.Combine(_memory, "file");
        using (var made = File.Create(path))
            made.SetLength((long)Blocks * Block);
        if (reserved)
        {
            using var process = Process.Start("fallocate", ["-l", $"{(long)Blocks * Block}", path]);
            process.WaitForExit();
            Assert.Equal(0, process.ExitCode);
        }

        Assert.Equal(0, FileStorage.Open(path, readOnly: false, direct, out var file));
        return file!;
    }

    private static async LoopTask<int> WriteAsync(FileStorage file, long offset, int length)
    {
        using var buffer = new TableBuffer(length);
        buffer.Span.Fill(0x5a);
        return await file.WriteAsync(offset, buffer.Take(length));
    }
}
