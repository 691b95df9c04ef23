using System;
using System.Collections.Concurrent;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Outcomes;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Control;

/// <summary>Commands come one at a time and in order, and nothing that hangs keeps "detach --force" waiting.</summary>
public sealed class CommandTurnsTests : IDisposable
{
    private const string Ending = "it is already ending";

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);

    private readonly CommandTurns _turns = new();
    private readonly TaskCompletionSource _hold = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public void Dispose() => _turns.Dispose();

    private Task<Outcome> Run(string what, Func<CancellationToken, Task<Outcome>> command, TimeSpan? timeout = null) =>
        _turns.RunAsync(what, timeout ?? s_patience, command);

    /// <summary>Takes the turn until it is let go, or cut short.</summary>
    private Task<Outcome> Occupy() => Run("cannot suspend", async cut =>
    {
        await _hold.Task.WaitAsync(cut).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return _hold.Task.IsCompleted ? Outcome.Done() : Outcome.Refused(OutcomeKind.Failed, "cannot suspend", "requests did not end");
    });

    private static Task<Outcome> Nothing(CancellationToken cut) => Task.FromResult(Outcome.Done());

    [Fact]
    public async Task Commands_run_one_at_a_time_in_the_order_in_which_they_came()
    {
        var order = new ConcurrentQueue<int>();
        var running = 0;
        var first = Occupy();
        var waiting = Enumerable.Range(0, 20).Select(number => Run("cannot", async _ =>
        {
            Assert.Equal(1, Interlocked.Increment(ref running));
            await Task.Yield();
            order.Enqueue(number);
            Interlocked.Decrement(ref running);
            return Outcome.Done();
        })).ToArray();

        Assert.Empty(order);
        _hold.SetResult();
        await Task.WhenAll([first, .. waiting]).WaitAsync(s_patience, TestContext.Current.CancellationToken);

        Assert.Equal(Enumerable.Range(0, 20), order);
    }

    [Fact]
    public async Task Command_that_waited_too_long_is_refused_and_leaves_the_turn_to_others()
    {
        var first = Occupy();

        var refused = await Run("cannot resume", Nothing, TimeSpan.FromMilliseconds(20));

        Assert.Equal(Outcome.Refused(OutcomeKind.Failed, "cannot resume", "another command on it is still running"), refused);
        var next = Run("cannot resume", Nothing);
        _hold.SetResult();
        var ended = await Task.WhenAll(first, next).WaitAsync(s_patience, TestContext.Current.CancellationToken);
        Assert.Equal([Outcome.Done(), Outcome.Done()], ended);
    }

    [Fact]
    public async Task Command_that_throws_leaves_the_turn_to_others()
    {
        await Assert.ThrowsAsync<InvalidOperationException>(() => Run("cannot", _ => throw new InvalidOperationException("a bug")));
        Assert.Equal(Outcome.Done(), await Run("cannot", Nothing, TimeSpan.Zero));
    }

    [Fact]
    public async Task Force_cuts_the_running_command_short_and_goes_before_those_that_wait()
    {
        var began = false;
        var first = Occupy();
        var waiting = Run("cannot resume", _ =>
        {
            began = true;
            return Nothing(default);
        });

        var forced = await _turns.RunFirstAsync("cannot detach", s_patience, () => Nothing(default))
            .WaitAsync(s_patience, TestContext.Current.CancellationToken);

        Assert.Equal(Outcome.Done(), forced);
        Assert.Equal(Outcome.Refused(OutcomeKind.Failed, "cannot suspend", Ending), await first);
        Assert.Equal(Outcome.Refused(OutcomeKind.Failed, "cannot resume", Ending), await waiting);
        Assert.False(began, "a command ran behind a forced detach");
        Assert.Equal(Outcome.Done(), await Run("cannot", Nothing, TimeSpan.Zero));
    }

    [Fact]
    public async Task Nothing_cuts_a_forced_command_short()
    {
        var began = new TaskCompletionSource();
        var first = _turns.RunFirstAsync("cannot detach", s_patience, async () =>
        {
            began.SetResult();
            await _hold.Task;
            return Outcome.Done();
        });
        await began.Task;

        var second = await _turns.RunFirstAsync("cannot detach", TimeSpan.FromMilliseconds(20), () => Nothing(default));

        Assert.Equal("another command on it is still running", second.Why);
        _hold.SetResult();
        Assert.Equal(Outcome.Done(), await first);
    }

    [Fact]
    public async Task Command_that_was_done_is_done_although_it_was_cut_short()
    {
        var first = Run("cannot suspend", async cut =>
        {
            await Task.Delay(Timeout.Infinite, cut).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            return Outcome.Done("in the last moment");
        });

        Assert.Equal(Outcome.Done(), await _turns.RunFirstAsync("cannot detach", s_patience, () => Nothing(default)));

        Assert.Equal(Outcome.Done("in the last moment"), await first);
    }

    [Fact]
    public async Task End_refuses_who_waits_and_cuts_who_runs()
    {
        var first = Occupy();
        var waiting = Run("cannot resume", Nothing);

        _turns.Dispose();

        var refused = await Task.WhenAll(first, waiting).WaitAsync(s_patience, TestContext.Current.CancellationToken);
        Assert.Equal([Ending, Ending], refused.Select(outcome => outcome.Why));
    }
}
