using System;
using Qcow2Blk.Remote.Bases;
using Qcow2Blk.Storage;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Bases;

/// <summary>A direct transfer is good, and counted, only if the cache says so before and after it.</summary>
public sealed class CachedReadsTests : IDisposable
{
    private readonly SimulatedLoop _loop = new(1);

    public void Dispose() => _loop.Dispose();

    [Theory]
    [InlineData(true, true)]
    [InlineData(true, false)]
    [InlineData(false, false)]
    public void Answers_are_those_of_the_cache(bool isThere, bool isStill)
    {
        var counters = new RemoteCounters();
        var reads = new CachedReads(new Answers(isThere, isStill), counters);
        Assert.Equal(isThere, reads.IsThere(4096, 512, out var mark));
        Assert.Equal(7ul, mark);
        Assert.Equal(isStill, reads.IsStill(4096, 512, mark));
        Assert.Equal(isStill ? (1L, 512L) : (0, 0), (counters.Hits, counters.HitBytes));
    }

    private sealed class Answers(bool isThere, bool isStill) : ICachedFile
    {
        public FileStorage File => throw new NotSupportedException("nothing is read here");

        public bool IsThere(long offset, int length, out ulong mark)
        {
            Assert.Equal((4096L, 512), (offset, length));
            mark = 7;
            return isThere;
        }

        public bool IsStill(long offset, int length, ulong mark)
        {
            Assert.Equal((4096L, 512, 7ul), (offset, length, mark));
            return isStill;
        }
    }
}
