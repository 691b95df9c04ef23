using System;
using System.CommandLine;
using System.Linq;
using System.Text.Json;
using System.Threading;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk attach IMAGE</c>.</summary>
internal sealed class AttachVerb : Verb
{
    private readonly IDeviceFactory _factory;
    private readonly Argument<string?> _image = new("IMAGE") { Description = "the image file", Arity = ArgumentArity.ZeroOrOne };
    private readonly Option<bool> _recover = Flag("--recover",
        "take over a device whose server died, with the options it had; IMAGE is its name, node or image [default: all such devices]");
    private readonly Option<bool> _recoverOrAttach =
        Flag("--recover-or-attach", "take over what a dead server of IMAGE left behind, otherwise attach it; for systemd units");
    private readonly TableOptions _table = new(AttachOptionTable.All.Where(option => option.IsPublic));
    private readonly Option<bool> _json = JsonFlag();
    private readonly RecoverMode _recovery;

    internal AttachVerb(IDeviceFactory factory)
        : base("attach", "open an image and serve it until it is detached",
            "mount $(qcow2blk attach disk.qcow2) /mnt",
            "qcow2blk attach disk.qcow2 --socket /run/disk.sock",
            "qcow2blk attach --recover disk",
            "qcow2blk attach disk.qcow2 --listen 127.0.0.1:10809 --read-only --name backup",
            "qcow2blk attach disk.qcow2 --run 'nbdinfo \"$uri\"'",
            "nbdinfo [ qcow2blk attach disk.qcow2 ]")
    {
        _factory = factory;
        Arguments.Add(_image);
        // The two ways to recover stand in help before what else is about a dead server.
        foreach (var option in (Option[])[.. _table.All, _json])
        {
            if (option.Name == "--discard-log")
            {
                Options.Add(_recover);
                Options.Add(_recoverOrAttach);
            }

            Options.Add(option);
        }

        _recovery = new RecoverMode(_table, _recoverOrAttach, _json);
        Does(Attach);
    }

    private ExitCode Attach(ParseResult parsed)
    {
        var image = parsed.GetValue(_image);
        if (parsed.GetValue(_recover))
            return _recovery.Run(parsed, image, options => Serve(parsed, options));
        if (image is null)
        {
            throw new OutcomeException(OutcomeKind.Invalid, "bad attach command line", "IMAGE is missing",
                "see \"qcow2blk attach --help\"");
        }

        if (parsed.GetValue(_recoverOrAttach) && _recovery.Left(parsed, FilePath.Absolute(image), _table.Read(parsed).Name) is { } left)
            return Serve(parsed, left);
        using var privateSocket = new PrivateSocket();
        var options = Read(parsed, image, privateSocket);
        if (options.RunCommand is not null && parsed.GetValue(_json))
            throw new OutcomeException(OutcomeKind.Invalid, "--run and --json cannot be used together", "standard output is CMD's");
        return Serve(parsed, options);
    }

    private ExitCode Serve(ParseResult parsed, AttachOptions options)
    {
        if (options.ServesInProcess)
            return InProcessServer.Serve(options, _factory, record => Announce(parsed, record));
        Announce(parsed, StartInBackground(options));
        return ExitCode.Done;
    }

    private static DeviceRecord StartInBackground(AttachOptions options)
    {
        using var bar = ProgressBar.For(options.Image);
        return BackgroundServer.Start(options, ServerProgram.Self(JitHost.Arguments), Timeout.InfiniteTimeSpan,
            progress: bar is null ? null : bar.Show);
    }

    private AttachOptions Read(ParseResult parsed, string image, PrivateSocket privateSocket)
    {
        var settings = new AttachSettings(new AttachOptions { Image = FilePath.Absolute(image), ListenFd = SocketActivation.Take() });
        _table.Read(parsed, settings);
        // As with nbdkit and qemu-nbd, a captive command gets NBD; a block device is for those who ask for one.
        if (settings.Options.RunCommand is not null && !settings.SaysHowToServe)
            settings.Set("socket", privateSocket.Make());
        return settings.ToOptions();
    }

    private void Announce(ParseResult parsed, DeviceRecord record)
    {
        if (parsed.GetValue(_json))
            Output.Json(writer => Describe(writer, record));
        else
            Output.Line(record.DevicePath ?? record.Uri ?? record.Name);
    }

    private static void Describe(Utf8JsonWriter writer, DeviceRecord record)
    {
        writer.WriteStartObject();
        writer.WriteString("name"u8, record.Name);
        writer.WriteString("uri"u8, record.Uri);
        writer.WriteString("device"u8, record.DevicePath);
        writer.WriteString("image"u8, record.Image);
        writer.WriteNumber("pid"u8, record.Pid);
        writer.WriteEndObject();
    }
}
