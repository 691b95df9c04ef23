using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image.Check;

/// <summary>The crash test's own ground: what a power cut may leave, and that it does leave it.</summary>
public sealed class CrashImageTests
{
    private const int Sector = CrashImage.SectorSize;

    [Fact]
    public void Flushed_sectors_are_there_and_others_come_in_every_mixture()
    {
        using var run = new Recorded();
        run.Write(0, 4 * Sector, 1);
        run.Flush();
        run.Write(Sector, 2 * Sector, 2);
        var crash = new CrashImage(new SparseBytes(), run.Log);
        crash.AdvanceTo(run.Log.Tick);

        var seen = new HashSet<string>();
        var random = new Random(1);
        for (var cut = 0; cut < 200; cut++)
        {
            crash.Cut(random);
            seen.Add(Recorded.Sectors(crash));
            crash.Restore();
            Assert.Equal("1111", Recorded.Sectors(crash));
        }

        Assert.Equal(["1111", "1121", "1211", "1221"], seen.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Write_that_had_not_ended_when_the_flush_began_is_not_covered()
    {
        using var run = new Recorded();
        run.Together(() => run.StartWrite(0, Sector, 1), run.StartFlush);
        var crash = new CrashImage(new SparseBytes(), run.Log);
        crash.AdvanceTo(run.Log.Tick);

        Assert.Equal(1, crash.Pending);
    }

    [Fact]
    public void Part_of_a_sector_takes_along_what_was_written_to_the_sector_before()
    {
        using var run = new Recorded();
        run.Write(0, 100, 1);
        run.Write(100, 100, 2);
        var crash = new CrashImage(new SparseBytes(), run.Log);
        crash.AdvanceTo(run.Log.Tick);
        var random = new Random(1);
        for (var cut = 0; cut < 200; cut++)
        {
            crash.Cut(random);
            var bytes = new byte[200];
            crash.Read(0, bytes);
            Assert.False(bytes[0] == 0 && bytes[100] == 2);
            crash.Restore();
        }
    }

    [Fact]
    public void Punched_hole_may_be_there_in_part_until_it_is_flushed()
    {
        using var run = new Recorded();
        run.Write(0, 2 * Sector, 1);
        run.Flush();
        run.Together(() => run.Storage.PunchAsync(0, 2 * Sector));
        var cutAt = run.Log.Tick;
        run.Flush();
        var crash = new CrashImage(new SparseBytes(), run.Log);
        crash.AdvanceTo(cutAt);
        var seen = new HashSet<string>();
        var random = new Random(1);
        for (var cut = 0; cut < 200; cut++)
        {
            crash.Cut(random);
            seen.Add(Recorded.Sectors(crash));
            crash.Restore();
        }

        crash.AdvanceTo(run.Log.Tick);
        Assert.Equal(["00", "01", "10", "11"], seen.Order(StringComparer.Ordinal));
        Assert.Equal("00", Recorded.Sectors(crash));
    }

    [Fact]
    public void Same_seed_gives_the_same_run_and_the_loop_tells_a_deadlock()
    {
        Assert.Equal(Trace(7), Trace(7));
        Assert.NotEqual(Trace(7), Trace(8));
        using var loop = new SimulatedLoop(1);
        var error = Assert.Throws<InvalidOperationException>(() => loop.Run(() => new WaitQueue().WaitAsync()));
        Assert.StartsWith("deadlock", error.Message, StringComparison.Ordinal);
    }

    private static string Trace(int seed)
    {
        using var run = new Recorded(seed);
        run.Together(
            [.. Enumerable.Range(0, 20).Select<int, Func<LoopTask<int>>>(index => () => run.StartWrite(index * Sector, Sector, 1))]);
        return string.Join(' ', run.Log.Operations.Select(operation => operation.Completed));
    }

    /// <summary>A recorded storage on a loop, and memory to write from.</summary>
    private sealed class Recorded : IDisposable
    {
        private readonly List<TableBuffer> _buffers = [];
        private readonly SimulatedLoop _loop;

        public Recorded(int seed = 1)
        {
            _loop = new SimulatedLoop(seed);
            Storage = new MemoryStorage(_loop, new SparseBytes()) { Log = Log };
        }

        public StorageLog Log { get; } = new();

        public MemoryStorage Storage { get; }

        public void Write(long offset, int length, byte value) => Together(() => StartWrite(offset, length, value));

        public void Flush() => Together(StartFlush);

        public LoopTask<int> StartFlush() => Storage.FlushAsync();

        public LoopTask<int> StartWrite(long offset, int length, byte value)
        {
            var buffer = new TableBuffer(length);
            _buffers.Add(buffer);
            buffer.Span.Fill(value);
            return Storage.WriteAsync(offset, buffer.Take(length));
        }

        public void Together(params Func<LoopTask<int>>[] starts)
        {
            var group = TaskGroup.Rent();
            foreach (var start in starts)
                group.Add(start());
            Assert.Equal(0, _loop.RunUntilComplete(group.WaitAsync()));
        }

        public static string Sectors(CrashImage image)
        {
            var bytes = new byte[image.Length];
            image.Read(0, bytes);
            return string.Concat(bytes.Where((_, index) => index % Sector == 0));
        }

        public void Dispose()
        {
            Storage.Dispose();
            _buffers.ForEach(buffer => buffer.Dispose());
            _loop.Dispose();
        }
    }
}
