using System;
using System.CommandLine;
using System.Threading;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Devices.Takeover;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk resume TARGET…</c>.</summary>
internal sealed class ResumeVerb : DeviceCommand
{
    private readonly Option<bool> _allowShrink = Flag("--allow-shrink", "resume even if the disk is smaller than it was");

    private readonly TableOptions _lockTimeout = new("lock-timeout", $"as at attach, else {AttachOptions.DefaultLockTimeout}");

    public ResumeVerb()
        : base("resume", "re-read a suspended image and release the held requests",
            "qcow2blk resume disk",
            "qcow2blk resume disk --allow-shrink")
    {
        Options.Add(_allowShrink);
        foreach (var option in _lockTimeout.All)
            Options.Add(option);
    }

    protected override ControlRequest Request(ParseResult parsed, TimeSpan timeout) =>
        new(ControlVerb.Resume, timeout, Force: false, parsed.GetValue(_allowShrink),
            LockTimeout: _lockTimeout.Read(parsed).LockTimeout is { } seconds ? TimeSpan.FromSeconds(seconds) : null);

    /// <summary>A block device whose server died while it was suspended goes on with another one.</summary>
    protected override Outcome OnDead(DeviceRegistry registry, DeviceEntry entry, ControlRequest request)
    {
        if (!entry.Record.Suspended || !registry.IsLost(entry) || entry.IsRecovering)
            return base.OnDead(registry, entry, request);
        var options = Recovery.OptionsFor(Recovery.One(registry, entry.Record.Name));
        if (request.LockTimeout is { } locks)
            options = options with { LockTimeout = (int)locks.TotalSeconds };
        BackgroundServer.Start(options, ServerProgram.Self(JitHost.Arguments), Timeout.InfiniteTimeSpan);
        return Outcome.Done("its server had died: a new one took over");
    }
}
