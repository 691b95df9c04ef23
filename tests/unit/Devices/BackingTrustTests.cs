using System;
using System.Collections.Generic;
using System.IO;
using System.Threading;
using Qcow2Blk.Buffers;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Takeover;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Logging;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Devices;

/// <summary>Which file is the backing file: what the image says, what the user says, and what may be.</summary>
public sealed class BackingTrustTests : IDisposable
{
    private readonly SwappingLog _log = new();
    private readonly ChainScene _scene;
    private readonly string _top;

    public BackingTrustTests()
    {
        _scene = new ChainScene { Log = _log };
        _top = _scene.File("top.qcow2");
        foreach ((var name, var value) in new[] { ("ok", (byte)'A'), ("secret", (byte)'S') })
        {
            Directory.CreateDirectory(_scene.File(name));
            var content = new byte[65536];
            content.AsSpan().Fill(value);
            File.WriteAllBytes(_scene.File($"{name}/base.raw"), content);
        }
    }

    public void Dispose() => _scene.Dispose();

    private AttachOptions Options => ChainScene.Options(_top);

    private void Overlay(string backing, string? format) => OverlayAt(_top, backing, format);

    private static void OverlayAt(string path, string backing, string? format)
    {
        Qemu.Img("create", "-q", "-u", "-f", "qcow2", "-b", backing, "-F", format ?? "raw", path, "64k");
        if (format is not null)
            return;
        // The extension of the format name becomes one that nobody knows.
        var bytes = File.ReadAllBytes(path);
        var extension = bytes.AsSpan().IndexOf((byte[])[0xe2, 0x79, 0x2a, 0xca]);
        bytes[extension] = 0x12;
        File.WriteAllBytes(path, bytes);
    }

    /// <summary>The byte that the disk holds.</summary>
    private byte Read(AttachOptions options)
    {
        byte value = 0;
        _scene.Open(options, async disk =>
        {
            var buffer = LoopScheduler.Current.Buffers.Rent(4096);
            var error = await disk.ReadAsync(0, buffer);
            value = buffer.Span[0];
            LoopScheduler.Current.Buffers.Return(buffer);
            return error;
        });
        return value;
    }

    private string Refusal(AttachOptions options)
    {
        var before = File.ReadAllBytes(_top);
        var message = Assert.Throws<ImageFormatException>(() => Read(options)).Message;
        Assert.Equal(before, File.ReadAllBytes(_top));
        Assert.Empty(_scene.OpenFiles());
        return message;
    }

    [Fact]
    public void Swapped_link_never_leads_out_of_the_allowed_directories()
    {
        Overlay("link/base.raw", "raw");
        Directory.CreateSymbolicLink(_scene.File("link"), "ok");
        Directory.CreateSymbolicLink(_scene.File("other"), "secret");
        var ended = 0;
        var attacker = new Thread(() =>
        {
            while (Volatile.Read(ref ended) == 0)
                Swap(_scene.File("link"), _scene.File("other"));
        });
        attacker.Start();
        var options = Options with { ReadOnly = true, BackingDirectories = [_scene.File("ok")] };
        int served = 0, refused = 0;
        for (var i = 0; i < 3000 && (i < 300 || served == 0 || refused == 0); i++)
        {
            try
            {
                Assert.Equal((byte)'A', Read(options));
                served++;
            }
            catch (ImageFormatException error)
            {
                Assert.Contains("is not in a directory given with --backing-dir", error.Message, StringComparison.Ordinal);
                refused++;
            }
        }

        Volatile.Write(ref ended, 1);
        attacker.Join();
        Assert.True(served > 0 && refused > 0, $"{served} served, {refused} refused: the link did not move");
    }

    [Fact]
    public void Directory_that_became_a_link_allows_nothing_where_it_leads()
    {
        Overlay("ok/base.raw", "raw");
        var options = Options with { BackingDirectories = [_scene.File("ok")] };
        Assert.Equal((byte)'A', Read(options));
        Directory.Move(_scene.File("ok"), _scene.File("moved"));
        Directory.CreateSymbolicLink(_scene.File("ok"), "secret");
        Assert.Contains("secret/base.raw is not in a directory", Refusal(options), StringComparison.Ordinal);
    }

    [Fact]
    public void File_that_is_opened_again_without_direct_transfer_is_the_same_file()
    {
        // A raw file that ends in the middle of a sector.
        File.WriteAllBytes(_scene.File("ok/odd.raw"), new byte[1000]);
        File.WriteAllBytes(_scene.File("secret/odd.raw"), new byte[3000]);
        Directory.CreateSymbolicLink(_scene.File("link"), "ok");
        Directory.CreateSymbolicLink(_scene.File("other"), "secret");
        _log.OnWarning = () => Swap(_scene.File("link"), _scene.File("other"));
        var options = ChainScene.Options(_scene.File("link/odd.raw")) with { Format = ImageFormat.Raw, Cache = CacheMode.None };
        var links = _scene.Open(options);
        Assert.SkipWhen(_log.Warnings == 0, "files here take direct transfers of any length");
        Assert.Equal(1024, links[0].Size);
    }

    [Fact]
    public void Recovery_opens_no_other_file_than_the_server_before_had_open()
    {
        Qemu.Img("create", "-q", "-f", "qcow2", _top, "64k");
        var identity = Recovery.ImageIdentity(_top);
        _scene.Open(Options, recovery: new RecoveryLogChoice(null, Replay: true, OnlyImage: identity));
        File.Move(_top, _scene.File("aside"));
        File.Copy(_scene.File("aside"), _top);
        Exception error = Assert.Throws<IOException>(
            () => _scene.Open(Options, recovery: new RecoveryLogChoice(null, Replay: true, OnlyImage: identity)));
        Assert.Equal($"{_top} is no longer the file that was attached", error.Message);
        Assert.Empty(_scene.OpenFiles());
    }

    [Fact]
    public void Format_that_the_image_does_not_state_is_the_users()
    {
        Overlay("ok/base.raw", null);
        Assert.Contains("state it: --backing-format qcow2|raw", Refusal(Options), StringComparison.Ordinal);
        var before = File.ReadAllBytes(_top);
        Assert.Equal((byte)'A', Read(Options with { BackingFormat = ImageFormat.Raw, ReadOnly = true }));
        Assert.Equal(before, File.ReadAllBytes(_top));
        Assert.Contains("ok/base.raw: ", Refusal(Options with { BackingFormat = ImageFormat.Qcow2 }), StringComparison.Ordinal);
    }

    [Fact]
    public void Users_format_holds_for_every_image_of_the_chain_that_states_none_and_no_other()
    {
        OverlayAt(_scene.File("bottom.qcow2"), "ok/base.raw", "raw");
        OverlayAt(_scene.File("middle.qcow2"), "bottom.qcow2", null);
        Overlay("middle.qcow2", null);
        Assert.Equal((byte)'A', Read(Options with { BackingFormat = ImageFormat.Qcow2 }));
    }

    [Fact]
    public void Format_that_contradicts_the_image_is_refused()
    {
        Overlay("ok/base.raw", "raw");
        Assert.Equal(
            $"{_top}: the image states that its backing file is raw, and --backing-format says qcow2 (leave it out)",
            Refusal(Options with { BackingFormat = ImageFormat.Qcow2 }));
        Assert.Equal((byte)'A', Read(Options with { BackingFormat = ImageFormat.Raw }));
    }

    [Theory]
    [InlineData("ok/base.raw")]
    [InlineData("gone.raw")]
    [InlineData("nbd://host/export")]
    [InlineData("json:{\"driver\":\"raw\"}")]
    public void Users_backing_file_takes_the_place_of_whatever_the_image_names(string named)
    {
        Overlay(named, "raw");
        var before = File.ReadAllBytes(_top);
        Assert.Equal((byte)'S', Read(Options with { Backing = _scene.File("secret/base.raw"), ReadOnly = true }));
        Assert.Equal(before, File.ReadAllBytes(_top));
    }

    [Fact]
    public void Users_backing_file_is_only_the_first_images()
    {
        OverlayAt(_scene.File("moved.qcow2"), "ok/base.raw", "raw");
        Overlay("gone.qcow2", "qcow2");
        Assert.Equal((byte)'A', Read(Options with { Backing = _scene.File("moved.qcow2") }));
    }

    [Fact]
    public void Users_backing_file_follows_the_rules_of_the_others()
    {
        Overlay("gone.raw", "raw");
        var secret = _scene.File("secret/base.raw");
        var options = Options with { Backing = secret };
        var foreign = Refusal(options with { BackingDirectories = [_scene.File("ok")] });
        Assert.Contains("is not in a directory", foreign, StringComparison.Ordinal);
        Assert.Equal((byte)'S', Read(options with { BackingDirectories = [_scene.File("secret")] }));
        var none = _scene.File("none.raw");
        var missing = Refusal(Options with { Backing = none });
        Assert.EndsWith($"the backing file given with --backing does not exist ({none})", missing, StringComparison.Ordinal);
        Assert.Contains("leads back", Refusal(Options with { Backing = _top }), StringComparison.Ordinal);
    }

    [Fact]
    public void Users_backing_file_of_an_image_without_one_is_refused()
    {
        Qemu.Img("create", "-q", "-f", "qcow2", _top, "64k");
        var given = _scene.File("ok/base.raw");
        Assert.Equal($"{_top}: the image has no backing file; --backing {given} would change what its disk holds",
            Refusal(Options with { Backing = given, BackingFormat = ImageFormat.Raw }));
        Assert.Equal((byte)0, Read(Options with { BackingFormat = ImageFormat.Raw }));
    }

    /// <summary>Each becomes what the other was.</summary>
    private static void Swap(string first, string second)
    {
        var aside = $"{second}.aside";
        string? target = new FileInfo(first).LinkTarget, other = new FileInfo(second).LinkTarget;
        File.CreateSymbolicLink(aside, other!);
        Assert.Equal(0, Unistd.Rename(aside, first));
        File.CreateSymbolicLink(aside, target!);
        Assert.Equal(0, Unistd.Rename(aside, second));
    }

    /// <summary>Does something at the moment of a warning.</summary>
    private sealed class SwappingLog : ILog
    {
        public LogLevel Level => LogLevel.Debug;

        public Action? OnWarning { get; set; }

        public int Warnings { get; private set; }

        public void Write(LogLevel level, string message)
        {
            if (level != LogLevel.Warning)
                return;
            Warnings++;
            OnWarning?.Invoke();
        }
    }
}
