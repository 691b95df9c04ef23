using System;
using Qcow2Blk.Scheduling;
using Xunit;

namespace Qcow2Blk.Tests.Scheduling;

/// <summary>What a rule of the engine does when it holds, and when it does not.</summary>
public sealed class InvariantTests
{
    [Fact]
    public void Breach_names_the_rule_and_the_values()
    {
        var (cluster, refcount) = (7L, 2L);

        Assert.Equal("it holds", Assert.Throws<InvariantBreach>(() => Invariant.Holds(cluster < 0, "it holds")).Message);
        Assert.Equal("it holds (cluster = 7)",
            Assert.Throws<InvariantBreach>(() => Invariant.Holds(cluster < 0, "it holds", cluster)).Message);
        Assert.Equal("it holds (cluster + 1 = 8, refcount = 2)",
            Assert.Throws<InvariantBreach>(() => Invariant.Holds(cluster < 0, "it holds", cluster + 1, refcount)).Message);
    }

    [Fact]
    public void Rule_that_holds_allocates_nothing()
    {
        Check(10);
        var before = GC.GetAllocatedBytesForCurrentThread();
        Check(10_000);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    /// <summary>Without this the random tests would not see what only a walk over a table shows.</summary>
    [Fact]
    public void Tests_run_with_the_thorough_checks() => Assert.True(Invariant.Thorough);

    private static void Check(int count)
    {
        for (long i = 0; i < count; i++)
        {
            Invariant.Holds(i >= 0, "it holds");
            Invariant.Holds(i >= 0, "it holds", i);
            Invariant.Holds(i >= 0, "it holds", i, count);
        }
    }
}
