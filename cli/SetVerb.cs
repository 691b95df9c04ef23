using System;
using System.Collections.Generic;
using System.CommandLine;
using System.Linq;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk set TARGET…</c>.</summary>
internal sealed class SetVerb : DeviceCommand
{
    private readonly TableOptions _settable = new(AttachOptionTable.All.Where(option => option.IsSettable), showDefaults: false);

    public SetVerb()
        : base("set", "change options of attached devices: how fast they may be",
            "qcow2blk set disk --iops 2000 --bandwidth 100M",
            "qcow2blk set disk --write-bandwidth 20M --burst 5",
            "qcow2blk set disk --iops 0 --bandwidth 0")
    {
        foreach (var option in _settable.All)
            Options.Add(option);
    }

    /// <exception cref="OutcomeException">usage: a value that an option cannot have, or no option</exception>
    protected override ControlRequest Request(ParseResult parsed, TimeSpan timeout)
    {
        var changes = _settable.GivenTexts(parsed);
        if (changes.Count == 0)
        {
            var known = AttachOptionTable.All.Where(option => option.IsSettable).Select(option => option.Switch);
            throw new OutcomeException(OutcomeKind.Invalid, "nothing to set", $"give at least one of {string.Join(", ", known)}");
        }

        return new ControlRequest(ControlVerb.Set, timeout, Force: false, AllowShrink: false, Options: changes);
    }
}
