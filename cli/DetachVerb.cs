using System;
using System.CommandLine;
using Qcow2Blk.Devices;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk detach TARGET…</c>.</summary>
internal sealed class DetachVerb : DeviceCommand
{
    /// <summary>Between the answer and the end of the process there is only removal of a few names.</summary>
    private static readonly TimeSpan s_exitTimeout = TimeSpan.FromSeconds(10);

    private readonly Option<bool> _force = Flag("--force", "detach even if requests do not end or data cannot be written");

    public DetachVerb()
        : base("detach", "flush, close the image and end the device; also forgets devices whose server died",
            "qcow2blk detach disk",
            "qcow2blk detach /data/disk.qcow2 --timeout 120",
            "qcow2blk detach disk --force")
        => Options.Add(_force);

    protected override ControlRequest Request(ParseResult parsed, TimeSpan timeout)
        => new(ControlVerb.Detach, timeout, parsed.GetValue(_force), AllowShrink: false);

    protected override DeviceResult OnDead(DeviceRegistry registry, DeviceRecord record)
        => registry.RemoveDead(record.Name)
            ? DeviceResult.Done("its server was dead, forgotten")
            : DeviceResult.Refused(ExitStatus.Busy, $"cannot detach {record.Name}", "it is being attached again", "try again");

    protected override DeviceResult AfterSuccess(ControlClient client, DeviceResult result, TimeSpan timeout)
        => client.WaitForEnd(s_exitTimeout) ? result : result with { Note = "detached, but its server has not ended yet" };
}
