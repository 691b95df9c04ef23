using System;
using System.Linq;
using System.Threading.Tasks;
using Qcow2Blk.Embedding;
using Xunit;

namespace Qcow2Blk.Tests.Embedding;

/// <summary>What programs of other languages hold is a number, and a wrong one leads to nothing.</summary>
public sealed class HandlesTests
{
    private readonly Handles _handles = new();

    [Fact]
    public void Number_leads_to_its_object_and_to_nothing_once_that_is_removed()
    {
        var handle = _handles.Add("one");
        Assert.Equal("one", _handles.Find<string>(handle));
        Assert.Equal("one", _handles.Remove<string>(handle));
        Assert.Null(_handles.Find<string>(handle));
        Assert.Null(_handles.Remove<string>(handle));
    }

    [Fact]
    public void Number_of_another_kind_of_object_leads_to_nothing_and_removes_nothing()
    {
        var handle = _handles.Add("one");
        Assert.Null(_handles.Find<Version>(handle));
        Assert.Null(_handles.Remove<Version>(handle));
        Assert.Equal("one", _handles.Find<string>(handle));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(-1)]
    [InlineData(0x7fff_1234_5678)]
    public void Number_that_was_never_given_out_leads_to_nothing(long number)
    {
        _handles.Add("one");
        Assert.Null(_handles.Find<string>((nint)number));
        Assert.Null(_handles.Remove<string>((nint)number));
    }

    [Fact]
    public void Old_number_does_not_lead_to_what_took_its_place()
    {
        var old = _handles.Add("old");
        _handles.Remove<string>(old);
        var young = _handles.Add("young");
        Assert.NotEqual(old, young);
        Assert.Null(_handles.Find<string>(old));
        Assert.Equal("young", _handles.Find<string>(young));
    }

    [Fact]
    public void Numbers_are_odd_so_that_none_is_an_address() =>
        Assert.All(Enumerable.Range(0, 100).Select(_ => _handles.Add("one")), handle => Assert.Equal(1, handle & 1));

    [Fact]
    public async Task Of_several_threads_that_remove_a_number_one_gets_the_object()
    {
        for (var round = 0; round < 200; round++)
        {
            var handle = _handles.Add(new object());
            var got = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(() => _handles.Remove<object>(handle))));
            Assert.Single(got, found => found is not null);
        }
    }
}
