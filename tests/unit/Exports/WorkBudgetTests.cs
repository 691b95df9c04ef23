using System.Collections.Generic;
using Qcow2Blk.Exports;
using Xunit;

namespace Qcow2Blk.Tests.Exports;

public sealed class WorkBudgetTests
{
    private readonly WorkBudget _budget = new(100);
    private readonly List<string> _begun = [];

    [Fact]
    public void Work_that_fits_begins_at_once_and_the_rest_in_its_order()
    {
        _budget.Begin(Work("a", 60));
        _budget.Begin(Work("b", 60));
        _budget.Begin(Work("c", 10)); // It would fit, but would overtake.
        Assert.Equal(["a"], _begun);
        _budget.End(60);
        Assert.Equal(["a", "b", "c"], _begun);
        Assert.Equal(0, _budget.Waiting);
    }

    [Fact]
    public void Work_larger_than_the_budget_runs_alone()
    {
        _budget.Begin(Work("a", 1));
        _budget.Begin(Work("huge", 1000));
        Assert.Equal(["a"], _begun);
        _budget.End(1);
        _budget.Begin(Work("b", 1));
        Assert.Equal(["a", "huge"], _begun);
        _budget.End(1000);
        Assert.Equal(["a", "huge", "b"], _begun);
    }

    [Fact]
    public void A_long_line_of_work_that_ends_at_once_does_not_pile_up_on_the_stack()
    {
        _budget.Begin(Work("first", 100));
        for (var i = 0; i < 200_000; i++)
            _budget.Begin(new Piece(this, "short", 100, EndsAtOnce: true));
        _budget.End(100);
        Assert.Equal(200_001, _begun.Count);
        Assert.Equal(0, _budget.Waiting);
    }

    private Piece Work(string name, long bytes) => new(this, name, bytes, EndsAtOnce: false);

    private sealed record Piece(WorkBudgetTests Test, string Name, long WorkBytes, bool EndsAtOnce) : IBudgetedWork
    {
        public void BeginWork()
        {
            Test._begun.Add(Name);
            if (EndsAtOnce)
                Test._budget.End(WorkBytes);
        }
    }
}
