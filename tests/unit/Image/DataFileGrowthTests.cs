using System;
using System.IO;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>A data file that is shorter than the disk grows as it is needed, by several writes at once.</summary>
public sealed class DataFileGrowthTests
{
    [Fact]
    public void Write_that_ends_late_cuts_nothing_off_that_another_has_written()
    {
        using var directory = new TempDirectory();
        var data = directory.File("data.raw");
        var path = directory.File("image.qcow2");
        Qemu.Img("create", "-f", "qcow2", "-o", $"data_file={data}", path, "8M");
        File.WriteAllBytes(data, []);
        var image = SparseBytes.FromFile(path);
        for (var seed = 0; seed < 40; seed++)
        {
            using var loop = new SimulatedLoop(seed);
            var storage = new MemoryStorage(loop, StorageWindow.Join(image, SparseBytes.FromFile(data)));
            loop.Run(() => WriteAsync(storage));
        }
    }

    private static async LoopTask<int> WriteAsync(MemoryStorage storage)
    {
        var (file, data) = StorageWindow.Both(storage);
        var disk = await Qcow2Image.OpenAsync(file, new ImageOptions { Report = BrokenRule.Refuse }, null, data);
        using var buffer = new TableBuffer(4096);
        buffer.Span.Fill(0x77);
        var group = TaskGroup.Rent();
        foreach (var offset in (long[])[5 << 20, 1 << 20, 7 << 20, 3 << 20])
            group.Add(disk.WriteAsync(offset, buffer.Take(4096), forceUnitAccess: false));
        Assert.Equal(0, await group.WaitAsync());
        foreach (var offset in (long[])[5 << 20, 1 << 20, 7 << 20, 3 << 20])
        {
            buffer.Span.Clear();
            Assert.Equal(0, await disk.ReadAsync(offset, buffer.Take(4096)));
            Assert.False(buffer.Span[..4096].ContainsAnyExcept((byte)0x77), $"{offset}");
        }

        return await disk.CloseAsync();
    }
}
