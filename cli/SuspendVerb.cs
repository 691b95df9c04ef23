using System;
using System.CommandLine;
using Qcow2Blk.Devices.Control;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk suspend TARGET…</c>.</summary>
internal sealed class SuspendVerb : DeviceCommand
{
    public SuspendVerb()
        : base("suspend", "hold the device's requests and leave a closed, consistent image for other programs",
            "qcow2blk suspend disk",
            "qcow2blk suspend disk && qemu-img snapshot -c before disk.qcow2; qcow2blk resume disk")
    {
    }

    protected override ControlRequest Request(ParseResult parsed, TimeSpan timeout) =>
        new(ControlVerb.Suspend, timeout, Force: false, AllowShrink: false);
}
