using Qcow2Blk.Image;
using Qcow2Blk.Scheduling;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>Discards and zeroes of a huge disk cost what the image has tables for.</summary>
public sealed class LongZeroTests
{
    private const long Exbibyte = 1L << 60;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Exbibyte_without_tables_is_skipped_by_whole_tables(bool discard)
    {
        using var run = new OneImage(OneImage.Make("cluster_size=2M", "1E", "write -P 1 1T 2M"));
        var changed = discard ? run.Image.DiscardAsync(0, Exbibyte) : run.Image.WriteZeroesAsync(0, Exbibyte, ZeroFlags.MayUnmap);

        // An L2 table covers 512 GiB, a turn 256 tables: 2^21 tables are 2^13 turns. By slices it would be 2^22.
        for (var step = 0; step < 1 << 14 && !changed.IsCompleted; step++)
            run.Loop.Step();

        Assert.True(changed.IsCompleted);
        Assert.Equal(0, run.Loop.RunUntilComplete(changed));
        Assert.Equal(0, run.Expect(1L << 40, 4096, 0));
    }

    [Theory]
    [InlineData(512, 8 << 20)]
    [InlineData(65536, 8L << 30)]
    [InlineData(2 << 20, 256L << 30)]
    public void Turn_is_a_power_of_two_of_whole_slices(int clusterSize, long bytes)
    {
        using var run = new OneImage(OneImage.Make($"cluster_size={clusterSize}", "1G"));

        Assert.Equal(bytes, run.Image.TurnBytes);
    }
}
