using System;
using System.Buffers.Binary;
using Qcow2Blk.Protocol;
using Qcow2Blk.Remote.Nbd;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Nbd;

/// <summary>The map of zeroes beside a disk of which each byte is known.</summary>
public sealed class ZeroMapTests
{
    private const int Unit = ZeroMap.UnitBytes;

    [Theory]
    [InlineData(0)]
    [InlineData(1000)]
    [InlineData(Unit - 1)]
    public void Map_says_zeroes_only_of_what_is_all_zeroes(int tail)
    {
        for (var seed = 0; seed < 200; seed++)
        {
            var random = new Random(seed);
            var isData = new bool[(40 * Unit) + tail];
            for (var at = 0; at < isData.Length;)
            {
                var run = random.Next(1, 5 * Unit);
                isData.AsSpan(at, Math.Min(run, isData.Length - at)).Fill(random.Next(3) == 0);
                at += run;
            }

            var map = new ZeroMap(isData.Length);
            for (var i = 0; i < 30; i++)
            {
                var from = random.Next(isData.Length) / Unit * Unit;
                Ask(map, isData, from, random.Next(1, 9) * Unit, random);
                Compare(map, isData, random);
            }
        }
    }

    [Fact]
    public void Everything_is_found_once_all_was_asked_for()
    {
        var isData = new bool[(8 * Unit) + 5];
        isData[3 * Unit] = true;
        isData[^1] = true;
        var map = new ZeroMap(isData.Length);

        for (var unit = 0; unit < 9; unit++)
            Ask(map, isData, unit * Unit, isData.Length, new Random(unit));

        for (var unit = 0; unit < 9; unit++)
        {
            var found = map.Find((long)unit * Unit, 1, out _);
            Assert.Equal(unit is 3 or 8 ? ZeroFinding.Data : ZeroFinding.Zeroes, found);
        }

        Assert.Equal(ZeroFinding.Zeroes, map.Find(4 * Unit, 4 * Unit, out _));
        Assert.Equal(ZeroFinding.Data, map.Find(4 * Unit, (4 * Unit) + 1, out _));
    }

    [Fact]
    public void Map_of_a_giant_export_has_a_limit()
    {
        const long length = 1L << 60;
        var map = new ZeroMap(length);
        for (var page = 0L; page < 10_000; page++)
        {
            map.Note(page * ZeroMap.PageBytes, Unit, isZero: true, isFirst: true);
            Assert.Equal(ZeroFinding.Zeroes, map.Find(page * ZeroMap.PageBytes, Unit, out _));
        }

        Assert.InRange(map.Pages, 1, 4096);
        Assert.Equal(ZeroFinding.Unknown, map.Find(0, Unit, out var unknown));
        Assert.Equal(0, unknown);
    }

    /// <summary>Answers as a server may: as much as it likes of what was asked for, and more at the end.</summary>
    private static void Ask(ZeroMap map, bool[] isData, int offset, int length, Random random)
    {
        length = Math.Min(length, isData.Length - offset);
        var answer = new byte[4 + (8 * 4096)];
        var (bytes, at, most) = (4, offset, random.Next(4) == 0 ? 1 : 4096);
        for (var i = 0; i < most && at < offset + length; i++)
        {
            var end = at + 1;
            while (end < isData.Length && isData[end] == isData[at] && end - at < 3 * Unit)
                end++;
            BinaryPrimitives.WriteUInt32BigEndian(answer.AsSpan(bytes), (uint)(end - at));
            var state = isData[at] ? AllocationState.Hole : AllocationState.Zero;
            BinaryPrimitives.WriteUInt32BigEndian(answer.AsSpan(bytes + 4), (uint)state);
            (bytes, at) = (bytes + 8, end);
        }

        Assert.Null(new StatusQuestion(map, 0, offset, length).Take(answer.AsSpan(0, bytes)));
    }

    private static void Compare(ZeroMap map, bool[] isData, Random random)
    {
        var offset = random.Next(isData.Length);
        var length = random.Next(1, Math.Min(6 * Unit, isData.Length - offset) + 1);
        var found = map.Find(offset, length, out var unknown);
        if (found == ZeroFinding.Zeroes)
            Assert.False(isData.AsSpan(offset, length).Contains(true), $"{length} bytes at {offset} are not all zeroes");
        if (found == ZeroFinding.Unknown)
            Assert.InRange(unknown, offset / Unit * Unit, offset + length - 1);
    }
}
