using System;
using System.CommandLine;
using System.Threading;
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

    /// <summary>A block device whose server died while it was suspended goes on with another one.</summary>
    protected override DeviceResult OnDead(DeviceRegistry registry, DeviceEntry entry, ControlRequest request)
    {
        if (!entry.Record.Suspended || !registry.IsLost(entry) || entry.IsRecovering)
            return base.OnDead(registry, entry, request);
        AttachOptions options = Recovery.OptionsFor(Recovery.One(registry, entry.Record.Name));
        BackgroundServer.Start(options, ServerProgram.Self(JitHost.Arguments), Timeout.InfiniteTimeSpan);
        return DeviceResult.Done("its server had died: another one goes on");
    }
}
