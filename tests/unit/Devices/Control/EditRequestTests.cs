using System;
using System.Collections.Generic;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Devices.Outcomes;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Control;

/// <summary>An operation on an image goes to the server of a device and its answer comes back, whatever is in names.</summary>
public sealed class EditRequestTests
{
    [Fact]
    public void Longest_names_fit_into_a_request()
    {
        // Each of these bytes takes six in JSON.
        var name = new string('"', 1023);
        var request = new ControlRequest(ControlVerb.Edit, TimeSpan.FromSeconds(3), Force: false, AllowShrink: false,
            Options: new Dictionary<string, string> { ["name"] = name, ["from"] = name }, Edit: "bitmap-merge");
        var line = request.ToLine();

        Assert.InRange(line.Length, 1, ControlRequest.MaxBytes);
        var parsed = ControlRequest.Parse(line.AsSpan(0, line.Length - 1));
        Assert.Equal(("bitmap-merge", name, name), (parsed.Edit, parsed.Options!["name"], parsed.Options["from"]));
    }

    [Fact]
    public void What_was_asked_for_comes_back()
    {
        var line = ControlReply.ToLine(Outcome.Done("beside") with { Json = "[{\"name\":\"a\"}]" }, null, withStatus: false);
        var reply = ControlReply.Parse(line);
        Assert.Equal((true, "beside", "[{\"name\":\"a\"}]"), (reply.Result.Succeeded, reply.Result.Note, reply.Result.Json));
    }

    [Theory]
    [InlineData("bitmap-ad", "bad edit bitmap-ad")]
    [InlineData("", "bad edit ")]
    public void Operation_that_is_not_known_is_refused(string name, string what)
    {
        var error = Assert.Throws<OutcomeException>(() => ImageEdits.KindOf(new ImageEdit(name, new Dictionary<string, string>())));
        Assert.Equal((OutcomeKind.Invalid, what), (error.Kind, error.What));
    }

    [Fact]
    public void Argument_that_is_not_known_is_refused()
    {
        var edit = new ImageEdit("bitmap-clear", new Dictionary<string, string> { ["name"] = "a", ["granularity"] = "1" });
        Assert.Contains("granularity", Assert.Throws<OutcomeException>(() => ImageEdits.KindOf(edit)).Why);
    }
}
