using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Interop;
using Qcow2Blk.Uring;
using Xunit;

namespace Qcow2Blk.Tests.Uring;

/// <summary>
/// A kernel that takes no submission for a while: 5.11 to 5.18 with too many completions outstanding, or any without memory.
/// </summary>
public sealed unsafe class RingTests : IDisposable
{
    private const int Entries = 8;
    private const int Operations = 200;

    private readonly Ring _ring;

    public RingTests()
    {
        var result = Ring.Create(Entries, out var ring);
        Assert.SkipWhen(result is -Errno.EPERM or -Errno.ENOSYS, $"no io_uring here: {Errno.Text(result)}");
        Assert.Equal(0, result);
        _ring = ring!;
    }

    public void Dispose() => _ring.Dispose();

    [Theory]
    [InlineData(Errno.EBUSY)]
    [InlineData(Errno.EAGAIN)]
    public void No_operation_is_lost_while_the_kernel_refuses_submissions(int errno)
    {
        var refusals = 40;
        _ring.RefuseSubmission = () => refusals-- > 0 ? -errno : 0;
        for (ulong i = 0; i < Operations; i++)
            Prepare(i);
        Assert.Equal(Operations, (int)_ring.Unsubmitted);

        var completed = new List<ulong>();
        for (var turns = 0; completed.Count < Operations; turns++)
        {
            Assert.True(turns < 10 * Operations, $"{completed.Count} of {Operations} have ended");
            Assert.Equal(0, _ring.Enter(1, 1_000_000_000));
            Reap(completed);
        }

        Assert.Equal(Enumerable.Range(0, Operations).Select(i => (ulong)i), completed);
        Assert.Equal(0u, _ring.Unsubmitted);
    }

    [Fact]
    public void Refusals_that_come_and_go_lose_nothing_and_keep_the_order()
    {
        // More completions than their queue holds, taken off now and then: the kernel keeps what overflows.
        var random = new Random(1);
        _ring.RefuseSubmission = () => random.Next(3) == 0 ? 0 : -Errno.EBUSY;
        var completed = new List<ulong>();
        ulong next = 0;
        while (next < 5000)
        {
            for (var i = random.Next(3 * Entries); i >= 0; i--)
                Prepare(next++);
            Assert.Equal(0, _ring.Enter(0, 0));
            if (random.Next(4) == 0)
                Reap(completed);
        }

        _ring.RefuseSubmission = null;
        for (var turns = 0; completed.Count < (int)next && turns < 10000; turns++)
        {
            Assert.Equal(0, _ring.Enter(1, 1_000_000_000));
            Reap(completed);
        }

        Assert.Equal(Enumerable.Range(0, (int)next).Select(i => (ulong)i), completed);
    }

    [Fact]
    public void Refused_loop_with_nothing_to_reap_waits_before_it_asks_again()
    {
        var asked = 0;
        _ring.RefuseSubmission = () =>
        {
            asked++;
            return -Errno.EAGAIN;
        };
        Prepare(1);
        var started = System.Diagnostics.Stopwatch.StartNew();

        for (var i = 0; i < 3; i++)
            Assert.Equal(0, _ring.Enter(1, -1));

        // Each call has asked once, then slept: at least the better part of five milliseconds each.
        Assert.Equal(3, asked);
        Assert.True(started.ElapsedMilliseconds >= 12, $"{started.ElapsedMilliseconds} ms");
        Assert.Equal(1u, _ring.Unsubmitted);
    }

    private void Prepare(ulong number)
    {
        var entry = _ring.Next();
        Assert.Equal(0UL, entry->user_data);
        entry->opcode = IoUring.IORING_OP_NOP;
        entry->user_data = number;
    }

    private void Reap(List<ulong> completed)
    {
        while (_ring.TryTake(out var number, out var result, out _))
        {
            Assert.Equal(0, result);
            completed.Add(number);
        }
    }
}
