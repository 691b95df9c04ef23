using System;
using System.Collections.Generic;
using System.CommandLine;
using System.Linq;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Exports.Ublk;

namespace Qcow2Blk.Cli;

/// <summary>The options of <c>attach</c> that only a block device of the kernel has.</summary>
internal sealed class BlockDeviceOptions
{
    private readonly Option<string> _transport = Verb.Choice("--transport", DeviceTransports.Words.All,
        "what makes the block device; auto: ublk where the kernel has it, else its NBD");
    private readonly Option<string> _device = Verb.Text("--device", "NODE", "ask for this node, such as /dev/ublkb3 or /dev/nbd0 [default: the first free]");
    private readonly Option<string> _depth = Verb.Text("--depth", "N",
        $"requests that a queue of a ublk device holds, 1 to {AttachRules.MaxDepth} [default: {AttachOptions.DefaultDepth}]");
    private readonly Option<string> _blockSize = Verb.Text("--block-size", "512|4096",
        $"the block device's logical block size [default: {AttachOptions.DefaultBlockSize}]");
    private readonly Option<string> _ublkMode = Verb.Choice("--ublk-mode", UblkModes.Words.All, "how ublk moves data");
    private readonly Option<string> _nbdTimeout = Verb.Text("--nbd-timeout", "SECONDS",
        $"when the kernel's NBD sends a request again on another connection [default: {AttachOptions.DefaultNbdTimeout}]");
    private readonly Option<string> _deadTimeout = Verb.Text("--dead-timeout", "SECONDS",
        $"how long the kernel's NBD waits for a dead server before requests fail [default: {AttachOptions.DefaultDeadTimeout}]");

    /// <summary>The ceiling of the benchmark: no data is kept, so it is not for people.</summary>
    private readonly Option<bool> _nullIo = new("--null-io") { Hidden = true };

    internal IEnumerable<Option> All => [_transport, _device, _depth, _blockSize, _ublkMode, _nbdTimeout, _deadTimeout, _nullIo];

    /// <summary>Those that were written on the command line, by name.</summary>
    internal IReadOnlyList<string> Given(ParseResult parsed)
        => [.. All.Where(option => parsed.GetResult(option) is { Implicit: false }).Select(option => option.Name)];

    internal AttachOptions Read(ParseResult parsed, AttachOptions options)
    {
        DeviceTransport transport = DeviceTransports.Words.Parse(Verb.Word(parsed, _transport, DeviceTransports.Words.All));
        string? device = parsed.GetValue(_device);
        KernelNode? node = KernelNode.TryParse(device);
        return options with
        {
            // The node's name says what makes it.
            Transport = transport == DeviceTransport.Auto && node is { } named ? named.Transport : transport,
            Device = node?.Path ?? device,
            Depth = Verb.Whole(parsed, _depth) ?? AttachOptions.DefaultDepth,
            BlockSize = Verb.Whole(parsed, _blockSize) ?? AttachOptions.DefaultBlockSize,
            UblkMode = UblkModes.Words.Parse(Verb.Word(parsed, _ublkMode, UblkModes.Words.All)),
            NbdTimeout = Verb.Whole(parsed, _nbdTimeout) ?? AttachOptions.DefaultNbdTimeout,
            DeadTimeout = Verb.Whole(parsed, _deadTimeout) ?? AttachOptions.DefaultDeadTimeout,
            NullIo = parsed.GetValue(_nullIo),
        };
    }
}
