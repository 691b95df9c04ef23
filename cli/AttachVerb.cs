using System;
using System.Collections.Generic;
using System.CommandLine;
using System.IO;
using System.Linq;
using System.Text.Json;
using System.Threading;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk attach IMAGE</c>.</summary>
internal sealed class AttachVerb : Verb
{
    private readonly IDeviceFactory _factory;
    private readonly Argument<string?> _image = new("IMAGE") { Description = "the image file", Arity = ArgumentArity.ZeroOrOne };
    private readonly Option<bool> _recover = Flag("--recover",
        "IMAGE is a device whose server died, by its name, node or image: take it over with the options it had [default: all such devices]");
    private readonly Option<bool> _recoverOrAttach = Flag("--recover-or-attach", "take over what a dead server of IMAGE left, if it left something; for units");
    private readonly Option<bool> _discardLog = Flag("--discard-log",
        "give up what a dead server of the image had answered and not committed: the image is opened as it is");
    private readonly Option<string> _socket = Text("--socket", "PATH", "serve NBD on this unix socket instead of making a block device");
    private readonly Option<string> _listen = Text("--listen", "[HOST][:PORT]",
        "serve NBD on this TCP address, or on this PORT of localhost; port 10809 if none is given");
    private readonly BlockDeviceOptions _block = new();
    private readonly Option<string> _name = Text("--name", "NAME", "the device's name [default: the file's stem, made unique]");
    private readonly Option<bool> _readOnly = Flag("--read-only", "serve a disk that cannot be written");
    private readonly Option<bool> _foreground = Flag("--foreground", "stay; Ctrl-C and SIGTERM detach cleanly");
    private readonly Option<string> _run = Text("--run", "CMD",
        "run CMD in a shell with $uri, $unixsocket, $device and $name set, detach after it, pass its exit status on; "
        + "a private NBD socket, or with --transport a block device");
    private readonly Option<string> _format = Choice("--format", ImageFormats.Words.All, "the image's format; never probed");
    private readonly Option<string> _cache = Choice("--cache", CacheModes.Words.All,
        "none: bypass the host's page cache where the file system can; writeback: use it");
    private readonly Option<string> _cacheSize = Text("--cache-size", "SIZE", "memory for tables of the image, such as 64M");
    private readonly Option<string> _queues = Text("--queues", "N",
        $"event loops, each with connections or a queue of the block device, 1 to {AttachRules.MaxQueues}");
    private readonly Option<string> _discard = Choice("--discard", DiscardModes.Words.All, "what a client's discard does");
    private readonly Option<string> _detectZeroes = Choice("--detect-zeroes", DetectZeroesModes.Words.All,
        "what happens to written data that is all zeroes");
    private readonly Option<string> _snapshot = Text("--snapshot", "NAME_OR_ID", "serve this internal snapshot, read-only");
    private readonly Option<bool> _noBacking = Flag("--no-backing", "refuse an image that names a backing file");
    private readonly Option<string[]> _backingDirs = new("--backing-dir")
    {
        Description = "backing files must lie in DIR; may repeat",
        HelpName = "DIR",
        Arity = ArgumentArity.OneOrMore,
        AllowMultipleArgumentsPerToken = false,
    };
    private readonly Option<string> _lockTimeout = LockTimeout.Option(
        $"{AttachOptions.DefaultLockTimeout}, or {AttachOptions.DefaultRecoveryLockTimeout} with --recover");
    private readonly BackingOptions _backing = new();
    private readonly Option<string> _onEnospc = Choice("--on-enospc", EnospcPolicies.Words.All,
        "what happens to a write that the host has no space for: report it as an error, or stop it and try again");
    private readonly Option<string> _pidFile = Text("--pid-file", "PATH", "written when clients can connect, removed at the end");
    private readonly Option<string> _logLevel = new("--log-level")
    {
        Description = "what the server logs, to the system log or in the foreground to standard error",
        HelpName = string.Join('|', LogLevels.Words.All),
        DefaultValueFactory = _ => "warning",
    };
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
        _logLevel.CompletionSources.Add([.. LogLevels.Words.All]);
        Arguments.Add(_image);
        Option[] options =
        [
            _socket, _listen, .. _block.All, _recover, _recoverOrAttach, _discardLog, _name, _readOnly, _foreground, _run, _format,
            _cache, _cacheSize, _queues, _discard, _detectZeroes, _snapshot, _noBacking, _backingDirs, .. _backing.All, _lockTimeout,
            _onEnospc, _pidFile, _logLevel, _json,
        ];
        foreach (Option option in options)
            Options.Add(option);
        _recovery = new RecoverMode(_foreground, _recover, _recoverOrAttach, _discardLog, _lockTimeout, _logLevel, _json);
        Does(Attach);
    }

    private ExitCode Attach(ParseResult parsed)
    {
        string? image = parsed.GetValue(_image);
        if (parsed.GetValue(_recover))
            return _recovery.Run(parsed, image, Options, options => Serve(parsed, options));
        if (image is null)
            throw new OutcomeException(OutcomeKind.Invalid, "bad attach command line", "required argument missing: it names no IMAGE", "see \"qcow2blk attach --help\"");
        if (parsed.GetValue(_recoverOrAttach) && _recovery.Left(parsed, Absolute(image), parsed.GetValue(_name)) is { } left)
            return Serve(parsed, left);
        using var privateSocket = new PrivateSocket();
        AttachOptions options = Read(parsed, image, privateSocket);
        AttachRules.Check(options);
        if (options.RunCommand is not null && parsed.GetValue(_json))
            throw new OutcomeException(OutcomeKind.Invalid, "--run and --json exclude each other", "standard output is CMD's");
        return Serve(parsed, options);
    }

    private ExitCode Serve(ParseResult parsed, AttachOptions options)
    {
        if (options.ServesInProcess)
            return InProcessServer.Serve(options, _factory, record => Announce(parsed, record));
        Announce(parsed, BackgroundServer.Start(options, ServerProgram.Self(JitHost.Arguments), Timeout.InfiniteTimeSpan));
        return ExitCode.Done;
    }

    private AttachOptions Read(ParseResult parsed, string image, PrivateSocket privateSocket)
    {
        string? socket = parsed.GetValue(_socket), listen = parsed.GetValue(_listen), run = parsed.GetValue(_run);
        int? listenFd = SocketActivation.Take();
        IReadOnlyList<string> block = _block.Given(parsed);
        // As with nbdkit and qemu-nbd, a captive command gets NBD; a block device is for those who ask for one.
        if (run is not null && socket is null && listen is null && listenFd is null && block.Count == 0)
            socket = privateSocket.Make();
        ListenAddress? address = listen is null ? null : ListenAddress.Parse(listen);
        AttachOptions options = _block.Read(parsed, new AttachOptions
        {
            Image = Absolute(image),
            SocketPath = socket is null ? null : Absolute(socket),
            ListenHost = address?.Host,
            ListenPort = address?.Port ?? AttachOptions.DefaultPort,
            ListenFd = listenFd,
            Name = parsed.GetValue(_name),
            DiscardLog = parsed.GetValue(_discardLog),
            ReadOnly = parsed.GetValue(_readOnly),
            Foreground = parsed.GetValue(_foreground),
            RunCommand = run,
            Format = ImageFormats.Words.Parse(Word(parsed, _format, ImageFormats.Words.All)),
            Cache = CacheModes.Words.Parse(Word(parsed, _cache, CacheModes.Words.All)),
            CacheSize = parsed.GetValue(_cacheSize) is { } size ? Quantity.ParseBytes("--cache-size", size) : null,
            Queues = Whole(parsed, _queues),
            Discard = DiscardModes.Words.Parse(Word(parsed, _discard, DiscardModes.Words.All)),
            DetectZeroes = DetectZeroesModes.Words.Parse(Word(parsed, _detectZeroes, DetectZeroesModes.Words.All)),
            Snapshot = parsed.GetValue(_snapshot),
            NoBacking = parsed.GetValue(_noBacking),
            BackingDirectories = [.. (parsed.GetValue(_backingDirs) ?? []).Select(BackingDirectory)],
            LockTimeout = LockTimeout.Read(parsed, _lockTimeout),
            Backing = _backing.File(parsed),
            BackingFormat = _backing.Format(parsed),
            OnEnospc = EnospcPolicies.Words.Parse(Word(parsed, _onEnospc, EnospcPolicies.Words.All)),
            PidFile = parsed.GetValue(_pidFile) is { } pidFile ? Absolute(pidFile) : null,
            LogLevel = LogLevels.Words.Parse(Word(parsed, _logLevel, LogLevels.Words.All)),
        });
        AttachRules.CheckGiven(block, options);
        return options;
    }

    /// <summary>Resolved here, once: what the name leads to later does not count.</summary>
    private static string BackingDirectory(string path)
        => Path.GetFullPath(RealPath.Of(path)) is var real && Directory.Exists(real) ? real
            : throw new OutcomeException(OutcomeKind.Invalid, $"--backing-dir {path} is no directory", "backing files could never be opened");

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
