using System;
using System.Linq;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Bitmaps;
using Xunit;

namespace Qcow2Blk.Tests.Image.Bitmaps;

public sealed class DirtyBitmapTests
{
    [Fact]
    public void Runs_and_counts_are_those_of_a_plain_list_of_bits()
    {
        var random = new Random(1);
        for (var round = 0; round < 200; round++)
        {
            var size = random.NextInt64(1, 300 * 512L);
            using var bits = Make(size, 9);
            var model = new bool[bits.Shape.Bits];
            for (var i = random.Next(8); i > 0; i--)
            {
                var first = random.NextInt64(model.Length);
                var end = random.NextInt64(first, model.Length) + 1;
                bits.Set(first, end);
                Array.Fill(model, true, (int)first, (int)(end - first));
            }

            Assert.Equal(model.Count(bit => bit), bits.Count);
            Assert.Equal(model.Select((bit, index) => bit ? Math.Min(512, size - (index * 512L)) : 0).Sum(), bits.DirtyBytes);
            for (var offset = 0L; offset < size;)
            {
                var (isDirty, length) = bits.RunAt(offset, size - offset);
                var same = Enumerable.Range((int)(offset / 512), (int)((offset + length - 1) / 512 - (offset / 512)) + 1);
                Assert.All(same, bit => Assert.Equal(model[bit], isDirty));
                offset += length;
                Assert.True(offset == size || model[offset / 512] != isDirty);
            }
        }
    }

    [Theory]
    [InlineData(9, 12)]
    [InlineData(12, 9)]
    [InlineData(16, 16)]
    public void Merge_covers_what_either_covers(int granularity, int other)
    {
        var random = new Random(granularity);
        const long size = (5 << 20) + 512;
        using var bits = Make(size, granularity);
        using var added = Make(size, other);
        var covered = new bool[(size + 511) / 512];
        for (var i = 0; i < 20; i++)
        {
            foreach (var target in (DirtyBitmap[])[bits, added])
            {
                var offset = random.NextInt64(size);
                var (first, end) = target.BitsOf(offset, Math.Min(random.Next(1, 100_000), size - offset));
                target.Set(first, end);
                for (var at = first << target.Shape.GranularityBits; at < Math.Min(end << target.Shape.GranularityBits, size); at += 512)
                    covered[at / 512] = true;
            }
        }

        bits.Merge(added);

        for (var sector = 0; sector < covered.Length; sector++)
            Assert.True(!covered[sector] || bits.RunAt(sector * 512L, 1).IsDirty, $"sector {sector}");
        if (granularity <= other)
            Assert.Equal(covered.Where((_, sector) => sector * 512L < size).Count(is_ => is_), Math.Ceiling(bits.DirtyBytes / 512.0));
    }

    private static DirtyBitmap Make(long size, int granularity)
    {
        var shape = new BitmapShape(size, granularity);
        return new DirtyBitmap(shape, BitmapMemory.OfProcess(shape.Bits));
    }
}
