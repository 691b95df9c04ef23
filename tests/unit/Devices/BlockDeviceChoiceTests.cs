using System;
using System.Collections.Generic;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Exports;
using Qcow2Blk.Exports.Ublk;
using Xunit;

namespace Qcow2Blk.Tests.Devices;

/// <summary>Which block device is made on a kernel that has ublk, NBD, both or none.</summary>
public sealed class BlockDeviceChoiceTests
{
    private static readonly ExportRefusedException s_noUblk = new(ExportRefusal.Unavailable, "no module ublk_drv", "modprobe ublk_drv");
    private static readonly ExportRefusedException s_noNbd = new(ExportRefusal.Unavailable, "no module nbd", "modprobe nbd");
    private static readonly AttachOptions s_options = new() { Image = "/disk.qcow2" };

    private static readonly FakeExport s_ublk = new();
    private static readonly FakeExport s_nbd = new();
    private readonly ListLog _log = new();

    /// <summary>What was asked and made, in order.</summary>
    private readonly List<string> _steps = [];

    /// <summary>Each refusal is that of a first look, or of the opening itself.</summary>
    private IExport Open(AttachOptions options, ExportRefusedException? ublk = null, ExportRefusedException? ublkOpening = null,
        ExportRefusedException? nbd = null, ExportRefusedException? nbdOpening = null) =>
        new BlockDeviceChoice
        {
            UblkRefusal = () => Step("look for ublk", ublk),
            OpenUblk = () => Step("open ublk", ublkOpening) is { } refusal ? throw refusal : s_ublk,
            NbdRefusal = () => Step("look for nbd", nbd),
            OpenNbd = () => Step("open nbd", nbdOpening) is { } refusal ? throw refusal : s_nbd,
        }.Open(options, _log);

    private ExportRefusedException? Step(string what, ExportRefusedException? outcome)
    {
        _steps.Add(what);
        return outcome;
    }

    [Fact]
    public void Ublk_is_first_and_nbd_not_even_looked_for()
    {
        Assert.Same(s_ublk, Open(s_options));
        Assert.Equal(["look for ublk", "open ublk"], _steps);
        Assert.Equal(["transport ublk: this kernel has it"], _log.Lines);
    }

    [Fact]
    public void Without_ublk_it_is_nbd_and_the_log_says_why()
    {
        Assert.Same(s_nbd, Open(s_options, ublk: s_noUblk));
        Assert.Equal(["look for ublk", "look for nbd", "open nbd"], _steps);
        Assert.Equal(["transport nbd: no ublk, no module ublk_drv"], _log.Lines);
    }

    [Theory]
    [InlineData(ExportRefusal.Unavailable)]
    [InlineData(ExportRefusal.Denied)]
    [InlineData(ExportRefusal.Failed)]
    public void Ublk_that_refuses_when_it_is_opened_is_replaced_by_nbd(ExportRefusal kind)
    {
        Assert.Same(s_nbd, Open(s_options, ublkOpening: new ExportRefusedException(kind, "the kernel says no")));
        Assert.Equal(["look for ublk", "open ublk", "look for nbd", "open nbd"], _steps);
        Assert.Equal(["transport nbd: no ublk, the kernel says no"], _log.Lines);
    }

    [Fact]
    public void Ublk_device_that_is_busy_is_not_replaced_by_another()
    {
        var busy = new ExportRefusedException(ExportRefusal.Busy, "/dev/ublkb3 already exists");
        Assert.Same(busy, Assert.Throws<ExportRefusedException>(() => Open(s_options, ublkOpening: busy)));
        Assert.Equal(["look for ublk", "open ublk"], _steps);
        Assert.Empty(_log.Lines);
    }

    [Fact]
    public void Both_refused_says_both_reasons_the_first_hint_and_the_way_without_a_kernel()
    {
        var refusal = Assert.Throws<ExportRefusedException>(() => Open(s_options, ublk: s_noUblk, nbd: s_noNbd));
        Assert.Equal("no ublk: no module ublk_drv; no kernel NBD: no module nbd", refusal.Message);
        Assert.Equal("modprobe ublk_drv; or serve NBD with --socket PATH", refusal.Hint);
        Assert.Equal(["look for ublk", "look for nbd"], _steps);
    }

    [Fact]
    public void Both_refused_when_they_are_opened_says_both_reasons_too()
    {
        var ublk = new ExportRefusedException(ExportRefusal.Failed, "a");
        var nbd = new ExportRefusedException(ExportRefusal.Failed, "b", "free one");
        var refusal = Assert.Throws<ExportRefusedException>(() => Open(s_options, ublkOpening: ublk, nbdOpening: nbd));
        Assert.Equal(("no ublk: a; no kernel NBD: b", "free one; or serve NBD with --socket PATH"), (refusal.Message, refusal.Hint));
        Assert.Empty(_log.Lines);
    }

    [Fact]
    public void Both_refused_without_a_hint_still_names_the_way_without_a_kernel()
    {
        var no = new ExportRefusedException(ExportRefusal.Failed, "no");
        Assert.Equal("serve NBD with --socket PATH", Assert.Throws<ExportRefusedException>(() => Open(s_options, ublk: no, nbd: no)).Hint);
    }

    [Theory]
    [InlineData(ExportRefusal.Denied, ExportRefusal.Unavailable, ExportRefusal.Denied)]
    [InlineData(ExportRefusal.Unavailable, ExportRefusal.Denied, ExportRefusal.Denied)]
    [InlineData(ExportRefusal.Unavailable, ExportRefusal.Busy, ExportRefusal.Busy)]
    [InlineData(ExportRefusal.Failed, ExportRefusal.Unavailable, ExportRefusal.Unavailable)]
    public void Both_refused_is_a_matter_of_rights_if_one_is_else_of_the_last_tried(ExportRefusal ublk, ExportRefusal nbd,
        ExportRefusal both)
    {
        var refusal = Assert.Throws<ExportRefusedException>(
            () => Open(s_options, ublk: new ExportRefusedException(ublk, "a"), nbd: new ExportRefusedException(nbd, "b")));
        Assert.Equal(both, refusal.Refusal);
    }

    public static TheoryData<object, bool, string> Forced { get; } = new()
    {
        { s_options with { Transport = DeviceTransport.Ublk }, true, "it was asked for" },
        { s_options with { Transport = DeviceTransport.Nbd }, false, "it was asked for" },
        { s_options with { NullIo = true }, true, "--null-io needs it" },
        { s_options with { UblkMode = UblkMode.Map }, true, "--ublk-mode needs it" },
        { s_options with { RecoverDevice = "/dev/ublkb7" }, true, "/dev/ublkb7 already exists" },
        { s_options with { RecoverDevice = "/dev/nbd7" }, false, "/dev/nbd7 already exists" },

        // The device that is there cannot become another kind, whatever it was once attached with.
        { s_options with { RecoverDevice = "/dev/nbd7", Transport = DeviceTransport.Ublk, NullIo = true }, false,
            "/dev/nbd7 already exists" },
    };

    [Theory]
    [MemberData(nameof(Forced))]
    public void Options_that_leave_no_choice_are_followed_and_the_log_says_why(object options, bool ublk, string why)
    {
        Assert.Same(ublk ? s_ublk : s_nbd, Open((AttachOptions)options));
        Assert.Equal([$"transport {(ublk ? "ublk" : "nbd")}: {why}"], _log.Lines);
    }

    [Theory]
    [MemberData(nameof(Forced))]
    public void Options_that_leave_no_choice_never_fall_back(object options, bool ublk, string why)
    {
        var missing =
            Assert.Throws<ExportRefusedException>(() => Open((AttachOptions)options, ublk: s_noUblk, nbd: s_noNbd));
        Assert.Same(ublk ? s_noUblk : s_noNbd, missing);
        var refused =
            Assert.Throws<ExportRefusedException>(() => Open((AttachOptions)options, ublkOpening: s_noUblk, nbdOpening: s_noNbd));
        Assert.Same(missing, refused);
        var other = ublk ? "nbd" : "ublk";
        Assert.DoesNotContain(_steps, step => step.EndsWith($" {other}", StringComparison.Ordinal));
        Assert.DoesNotContain(_log.Lines, line => line.Contains(why, StringComparison.Ordinal));
    }
}
