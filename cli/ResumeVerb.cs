using System;
using System.CommandLine;
using Qcow2Blk.Devices;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk resume TARGET…</c>.</summary>
internal sealed class ResumeVerb : DeviceCommand
{
    private readonly Option<bool> _allowShrink = Flag("--allow-shrink", "go on although the disk is smaller than it was");

    public ResumeVerb()
        : base("resume", "re-read a suspended image and go on with the held requests",
            "qcow2blk resume disk",
            "qcow2blk resume disk --allow-shrink")
        => Options.Add(_allowShrink);

    protected override ControlRequest Request(ParseResult parsed, TimeSpan timeout)
        => new(ControlVerb.Resume, timeout, Force: false, parsed.GetValue(_allowShrink));
}
